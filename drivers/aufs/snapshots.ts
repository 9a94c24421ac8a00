/**
 * Snapshots by aufs: the directory of an active layer is the writable branch of its mount, and that
 * of a committed layer is a read-only one. A commit makes the active layer itself the committed
 * one. Deletions in a layer are in aufs's form.
 *
 * An existing store can be used on a kernel without aufs, too: only joining layers needs a mount of
 * aufs.
 *
 * @module
 */
import type { ApplyTarget } from "../../lib/tar/apply/apply_options.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import { basename, dirname } from "@std/path";
import { FSCONFIG_STRING_MAX } from "../../ffi/fsmount.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { Home } from "../../lib/store/home.ts";
import { requireNothingMountedIn } from "../../lib/mount/inner_mounts.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { checkStep, type Mount, type MountPlan } from "../../lib/mount/plan.ts";
import { disposeProbe, isProbe } from "../union/probe_directory.ts";
import {
  EVERY_MOUNT,
  type ImportedSnapshot,
  type IsNoUse,
  type LayerChain,
  type SnapshotBackend,
} from "../../lib/snapshots/backend.ts";
import type { SnapshotLimits } from "../../lib/snapshots/limits.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";
import { bindMount, bindPlan, boundLayer } from "../union/layer_binds.ts";
import { LayerDirectories } from "../union/layer_directories.ts";
import { mountsOfDirectory, refuseUses } from "../../lib/snapshots/layer_mounts.ts";
import { isWhiteoutMetadata } from "../../lib/tree/whiteouts.ts";
import { AufsMounts, type Remedies } from "./aufs_mounts.ts";
import type { AufsEnvironment } from "./environment.ts";
import type { OwnDirectory } from "./mending.ts";
import type { Branches } from "./mount_data.ts";
import { hasBranch, isTopOfView, writableBranch } from "./mounted.ts";

const REMEDIES: Remedies = {
  join: { kind: "join", of: "snapshots" },
  withoutMount: "snapshots can still be listed, measured, labelled, committed and removed",
};

export class AufsSnapshots implements SnapshotBackend {
  readonly name = "aufs";
  readonly rebases = true;
  readonly #layers: LayerDirectories;
  readonly #mounts: AufsMounts;
  readonly #environment: AufsEnvironment;

  /** Opens a home; deletes probes of killed processes. */
  constructor(readonly home: Home, idMaps: IdMaps, environment: AufsEnvironment) {
    this.#layers = new LayerDirectories(home, idMaps);
    this.#mounts = new AufsMounts(home, environment, REMEDIES);
    this.#environment = environment;
    for (const name of home.staged().filter(isProbe)) this.#disposeProbe(name);
  }

  #disposeProbe(name: string): void {
    try {
      disposeProbe(this.home, name);
    } catch (error) {
      this.#environment.warn(`${this.home.staging(name)} stays: ${messageOf(error)}`);
    }
  }

  layerFor(): undefined {
    return undefined;
  }

  checkLimits(_limits: SnapshotLimits, what: string): void {
    throw new VeneerError("not supported", `${what}: aufs has no limits; leave that out`);
  }

  prepare(chain: LayerChain): void {
    const { layer, parents: [parent] } = chain;
    // Preparing a snapshot returns its mounts, so a snapshot that cannot be mounted is not created.
    if (boundLayer(chain) === undefined) {
      const branches = this.#branches(chain);
      this.#mounts.mounts(branches);
      this.#mounts.checkNewDepth(layer, branches.lowers.length, branches.upper ? 1 : 0);
    }
    this.#layers.make(layer, parent, { work: false });
  }

  /** The layer may be mounted: the caller of the commit has refused that, or allows it. */
  seal(chain: LayerChain): void {
    this.#mounts.mending.beforeCommit(this.#chain(chain));
  }

  freeze(): never {
    throw new TypeError("aufs's layers become committed as they are");
  }

  writeOut(layer: string): void {
    this.#layers.writeOut(layer);
  }

  checkUnused(chain: LayerChain, isNoUse = EVERY_MOUNT): void {
    const { layer, kind, parents: [parent] } = chain;
    const { aufsMounts, sysfs } = this.#environment;
    const path = this.#layers.path(layer).text, tail = `${layer}/fs`;
    requireNothingMountedIn({ what: `layer ${layer}`, trees: [path], mark: tail });
    const unions = aufsMounts().filter(({ mount }) => hasBranch(mount, path, tail, sysfs));
    const binds = mountsOfDirectory({ path, tail }, () => false);
    refuseUses(`layer ${layer}`, [...binds, ...unions], isNoUse);
    if (kind === "view" && parent !== undefined) this.#checkView(chain, parent, isNoUse);
  }

  /**
   * A view consists of its parents' directories only, so a mount of it cannot be told from that of
   * another view on its parent.
   */
  #checkView(chain: LayerChain, parent: string, isNoUse: IsNoUse): void {
    const { aufsMounts, sysfs } = this.#environment;
    const path = this.#layers.path(parent).text, tail = `${parent}/fs`;
    const uses = boundLayer(chain) === parent
      ? mountsOfDirectory({ path, tail }, () => false)
      : aufsMounts().filter(({ mount }) => isTopOfView(mount, path, tail, sysfs));
    refuseUses("a view on its parent", uses, (use) => isNoUse(use, true));
  }

  remove(layer: string): void {
    this.#layers.remove(layer);
    this.#mounts.mending.forget(layer);
  }

  list(): string[] {
    return this.#layers.list();
  }

  mounts(chain: LayerChain): Mount[] {
    const bind = bindMount(this.#layers, chain, boundLayer(chain));
    if (bind !== undefined) return [bind];
    const mounts = this.#mounts.mounts(this.#branches(chain), FSCONFIG_STRING_MAX);
    this.#layers.refuseLinks(chain);
    this.#mounts.mending.beforeMount(this.#chain(chain), chain.kind === "active");
    return mounts;
  }

  plan(chain: LayerChain, target: string): MountPlan {
    const bind = bindPlan(this.#layers, chain, target, boundLayer(chain));
    if (bind !== undefined) return bind;
    const branches = this.#branches(chain);
    const requireLayers = () =>
      [chain.layer, ...chain.parents].forEach((id) => this.#layers.require(id));
    const details = { requireLayers, chain: this.#chain(chain) };
    const steps = this.#mounts.steps(branches, target, details);
    return { path: target, steps: [checkStep(() => this.#layers.refuseLinks(chain)), ...steps] };
  }

  applyTarget({ layer, parents }: LayerChain): ApplyTarget {
    const directory = this.#layers.path(layer).text;
    return { directory, whiteouts: "aufs", lowers: this.#layers.paths(parents) };
  }

  finishApply(chain: LayerChain): void {
    this.#mounts.mending.afterApply(this.#chain(chain));
  }

  nativeDiff({ layer, parents }: LayerChain): NativeDiff {
    this.#layers.require(layer);
    const upper = this.#layers.path(layer).text;
    return { kind: "upper", upper, lowers: this.#layers.paths(parents), form: "aufs" };
  }

  beforeUnmount(target: string): void {
    const { mountAt, sysfs, warn } = this.#environment;
    const mount = mountAt(target);
    if (mount?.type !== "aufs") return;
    try {
      const upper = writableBranch(mount, sysfs);
      if (upper !== undefined) {
        this.#mounts.beforeUnmount({ id: basename(dirname(upper)), upper }, target);
      }
    } catch (error) {
      warn(`hard links that were broken up at ${target} stay so: ${messageOf(error)}`);
    }
  }

  #branches({ layer, kind, parents }: LayerChain): Branches {
    const isActive = kind === "active";
    return {
      id: layer,
      upper: isActive ? this.#layers.path(layer).text : undefined,
      lowers: parents.map((parent) => this.#layers.path(parent).text),
      readOnly: !isActive,
    };
  }

  /** The layers of a mount's branches, in the order of the branches. */
  #chain({ layer, kind, parents }: LayerChain): OwnDirectory[] {
    const ids = kind === "view" ? parents : [layer, ...parents];
    return ids.map((id) => ({ id, path: this.#layers.path(id).text }));
  }

  usage({ layer }: LayerChain): Usage {
    return this.#layers.usage(layer, isWhiteoutMetadata);
  }

  importable(): readonly ImportedSnapshot[] {
    return [];
  }

  imported(): void {}

  status(): readonly StatusLine[] {
    return [
      ["Backing Filesystem", this.#environment.backing],
      ["Dirperm1 Supported", String(this.#mounts.hasDirperm1() ?? "unknown")],
    ];
  }

  release(): void {}
}
