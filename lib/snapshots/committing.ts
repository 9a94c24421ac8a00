/**
 * Commits: an active snapshot's layer becomes the committed one, or a committed one is made from
 * it.
 *
 * @module
 */
import { O_DIRECTORY, O_RDONLY, open, syncfs, withFd } from "../../ffi/files.ts";
import { codeOf, VeneerError } from "../base/errors.ts";
import type { SyncMode } from "../base/sync_mode.ts";
import type { RunState } from "../store/run_state.ts";
import type { LayerChain, SnapshotBackend } from "./backend.ts";
import { shown } from "./keys.ts";
import type { Snapshot } from "./records.ts";
import type { Session } from "./session.ts";
import type { Labels } from "./snapshotter.ts";
import { naming, type SnapshotUses } from "./uses.ts";

/** The checked arguments of a commit. */
export interface Commitment {
  readonly name: string;
  readonly key: string;
  readonly labels: Labels;
  /** `""` for the parent on which it was prepared. */
  readonly parent: string;
}

/** Commits the snapshots of one store. */
export class Committing {
  constructor(
    readonly backend: SnapshotBackend,
    readonly state: RunState,
    readonly uses: SnapshotUses,
    /** The data that is on disk before a snapshot counts as committed. */
    readonly sync: SyncMode,
    /**
     * Refuses a snapshot that must not be committed now. The caller holds the lock of its layer.
     */
    readonly check: (snapshot: Snapshot) => void,
  ) {}

  /**
   * Commits a snapshot.
   *
   * @param finish deletes the snapshot's layer, under its lock, if another layer was committed
   */
  commit(
    session: Session,
    { name, key, labels, parent }: Commitment,
    finish: (snapshot: Snapshot) => void,
  ): void {
    const { store, intents } = session;
    intents.claim(name);
    using held = session.holdForCommit(name, key);
    const { snapshot } = held;
    if (parent !== "") {
      store.rules.checkFree(name);
      this.#checkRebase(snapshot, store.rules.parentName(snapshot), parent);
    }
    store.rules.checkCommit(snapshot, name, parent); // Before the layer is changed.
    this.check(snapshot);
    const chain = store.chain(snapshot);
    this.uses.checkUnused(snapshot, chain);
    const layer = this.backend.layerFor("committed", name) ??
      (this.#seal(snapshot, chain) ? undefined : store.newLayer());
    if (layer === undefined) {
      this.#writeOut(snapshot.layer);
      store.commit(snapshot, { name, labels, parent });
      return;
    }
    {
      using _lock = this.state.lockLayer(layer);
      intents.make(layer, name, parent, () => {
        this.backend.freeze(chain, layer);
        this.#writeOut(layer);
        store.commit(snapshot, { name, labels, parent, layer });
      });
    }
    finish(snapshot);
  }

  /** Seals a layer. Returns false if it is in use, so that a new layer must be made from it. */
  #seal(snapshot: Snapshot, chain: LayerChain): boolean {
    try {
      naming(snapshot, () => this.backend.seal(chain));
      return true;
    } catch (error) {
      if (this.uses.foreignUses === "refuse" || codeOf(error) !== "in use") throw error;
      return false;
    }
  }

  #writeOut(layer: string): void {
    if (this.sync === "filesystem") writeOut(this.backend);
    if (this.sync === "layer") this.backend.writeOut?.(layer);
  }

  /** @throws {VeneerError} `not supported` if the driver's layers include their parent's content */
  #checkRebase({ name }: Snapshot, is: string, wanted: string): void {
    if (this.backend.rebases || wanted === is) return;
    throw new VeneerError(
      "not supported",
      `${this.backend.name} cannot commit snapshot ${
        shown(name)
      } on another parent; prepare it on ${shown(wanted)}`,
    );
  }
}

/** Syncs the home's file system. */
export function writeOut({ home }: SnapshotBackend): void {
  withFd(open(home.path, O_RDONLY | O_DIRECTORY), (fd) => syncfs(fd, home.path));
}
