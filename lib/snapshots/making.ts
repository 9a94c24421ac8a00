/**
 * Makes active snapshots and views, with options from their labels, their keys and the store's
 * defaults. A layer that is made again has the same options.
 *
 * @module
 */
import type { IdMaps } from "../base/id_maps.ts";
import type { Mount } from "../mount/plan.ts";
import type { RunState } from "../store/run_state.ts";
import type { LayerChain, PrepareOptions, SnapshotBackend } from "./backend.ts";
import { checkKey, checkLabels, REFERENCE, shown } from "./keys.ts";
import {
  isLimited,
  isOfContainer,
  limitsOf,
  type Prepared,
  SIZE_LABEL,
  type SnapshotLimits,
} from "./limits.ts";
import { remapOf } from "./remap.ts";
import type { Session } from "./session.ts";
import type { Labels, SnapshotKind, SnapshotOptions } from "./snapshotter.ts";

/** Makes the snapshots of one store. */
export class Making {
  constructor(
    readonly backend: SnapshotBackend,
    readonly state: RunState,
    /** The limits of containers' snapshots without a label for limits. */
    readonly limits: SnapshotLimits,
    /** Whether the labels with id maps have an effect. */
    readonly isRemapped: boolean,
    /** Whether an intent is recorded before a layer is made; see `Intents.makeByLock`. */
    readonly reserves: boolean,
  ) {}

  /**
   * Makes a snapshot; returns its mounts.
   *
   * @throws {VeneerError} as `Snapshotter.prepare`
   */
  make(
    session: Session,
    kind: SnapshotKind,
    key: string,
    { parent, ...options }: SnapshotOptions & { readonly parent: string },
  ): Mount[] {
    checkKey(key);
    if (parent !== "") checkKey(parent, "parent");
    const labels = checkLabels(options.labels);
    const made = this.optionsOf({ kind, name: key, parent, labels });
    if (labels.has(SIZE_LABEL) && isLimited(made.limits)) {
      this.backend.checkLimits(made.limits, `label ${SIZE_LABEL} of ${shown(key)}`);
    }
    const { store, intents } = session;
    const layer = this.backend.layerFor(kind, key) ?? store.newLayer();
    using _lock = this.state.lockLayer(layer);
    using _home = this.state.holdHome();
    const snapshot = { layer, name: key, kind, parent, labels };
    const make = (chain: LayerChain) => {
      this.backend.prepare(chain, made);
      const mounts = this.backend.mounts(chain, made.remap, true);
      if (this.reserves) store.adopt(snapshot);
      else store.add(snapshot);
      return mounts;
    };
    return this.reserves
      ? intents.make(layer, key, parent, () => make(store.chainOn(layer, kind, parent)))
      : intents.makeByLock(snapshot, make);
  }

  /**
   * The options with which a snapshot's layer is made.
   *
   * @throws {VeneerError} `invalid argument` if a label is invalid
   */
  optionsOf(snapshot: Prepared): PrepareOptions & { readonly limits: SnapshotLimits } {
    return {
      limits: limitsOf(snapshot, this.limits),
      isCounted: isOfContainer(snapshot),
      isUnpacked: snapshot.labels.has(REFERENCE),
      remap: this.remapOf(snapshot.labels),
    };
  }

  /** The id maps in labels, if these have an effect. @throws as {@linkcode optionsOf} */
  remapOf(labels: Labels): IdMaps | undefined {
    return this.isRemapped ? remapOf(labels) : undefined;
  }
}
