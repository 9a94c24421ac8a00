/**
 * Snapshots by overlay: the directory of an active layer is the upper one of its mount, and that of
 * a committed layer is a lower one. A commit makes the active layer itself the committed one.
 *
 * @module
 */
import { withFd } from "../../ffi/files.ts";
import type { ProjectUsage } from "../../ffi/quota.ts";
import { type ConfinedPath, isDirectory, openDirectory } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Remedy } from "../../lib/base/remedy.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { Home } from "../../lib/store/home.ts";
import { requireNothingMountedIn } from "../../lib/mount/inner_mounts.ts";
import { formatIdMap, type IdMaps } from "../../lib/base/id_maps.ts";
import { checkStep, type Mount, type MountPlan } from "../../lib/mount/plan.ts";
import { isLimited, NO_LIMITS, type SnapshotLimits } from "../../lib/snapshots/limits.ts";
import { ProjectQuotas } from "./project_quota.ts";
import {
  EVERY_MOUNT,
  type ImportedSnapshot,
  type IsNoUse,
  type LayerChain,
  NO_MOUNT,
  type PrepareOptions,
  type SnapshotBackend,
} from "../../lib/snapshots/backend.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";
import { bindMount, bindPlan, boundLayer } from "../union/layer_binds.ts";
import { LayerDirectories } from "../union/layer_directories.ts";
import type { ApplyTarget } from "../../lib/tar/apply/apply_options.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import {
  type LayerDirectory,
  mountsOfDirectory,
  refuseUses,
} from "../../lib/snapshots/layer_mounts.ts";
import { stateOfUpper } from "../../lib/mount/upper_state.ts";
import { holdersOfDetached } from "../../lib/mount/uses.ts";
import { checkIdmappedLayers } from "./kernel.ts";
import { hasUserXattrs, type Overlay2Environment, statusOf } from "./environment.ts";
import { requireWork } from "./layout.ts";
import { checkDepth, type OverlayMount, overlayStep, triple } from "./mount_data.ts";
import { hasDirectory, isTopOfView } from "./mounted.ts";

const JOIN: Remedy = { kind: "join", of: "snapshots" };

/** The label in which containerd's tools expect the directory of a snapshot's changes. */
const UPPERDIR_LABEL = "containerd.io/snapshot/overlay.upperdir";

export class Overlay2Snapshots implements SnapshotBackend {
  readonly name = "overlay2";
  readonly rebases = true;
  readonly mountsStay = true;
  readonly #layers: LayerDirectories;
  readonly #environment: Overlay2Environment;
  readonly #quotas: ProjectQuotas;

  /** @throws {VeneerError} `not supported` if the options limit layers */
  constructor(readonly home: Home, idMaps: IdMaps, environment: Overlay2Environment) {
    if (isLimited(environment.options.limits)) {
      throw new VeneerError(
        "not supported",
        "the options overlay2.size and overlay2.inodes limit layers; snapshots have snapshot.size " +
          "and snapshot.inodes",
      );
    }
    this.#layers = new LayerDirectories(home, idMaps);
    this.#quotas = new ProjectQuotas(home);
    this.#environment = environment;
  }

  layerFor(): undefined {
    return undefined;
  }

  checkLimits(_limits: SnapshotLimits, what: string): void {
    this.#quotas.require(what);
  }

  checkRemap(what: string): void {
    checkIdmappedLayers(what);
  }

  checkMapped(): void {
    checkIdmappedLayers("an id map");
  }

  prepare(
    chain: LayerChain,
    { limits = NO_LIMITS, isUnpacked = false, isCounted = false, remap }: PrepareOptions = {},
  ): void {
    const { layer, kind, parents: [parent] } = chain;
    if (parent !== undefined) checkDepth(this.#overlay(chain, ""), this.#environment.api, JOIN);
    const lower = kind === "active" && parent === undefined && isUnpacked;
    const work = kind === "active" && (parent !== undefined || lower);
    // The project comes first, so that everything in the directory inherits it.
    const begin = (directory: ConfinedPath) => {
      if (isLimited(limits)) this.#quotas.assignToSnapshot(directory, limits);
      else if (isCounted) this.#quotas.tryCountSnapshot(directory);
    };
    this.#layers.make(layer, parent, { work, lower, endsWork: true, begin, remap });
  }

  /**
   * Does nothing: like containerd expects, overlay allows writes to a directory that is also a
   * lower one.
   */
  seal(): void {}

  freeze(): never {
    throw new TypeError("overlay2's layers become committed as they are");
  }

  writeOut(layer: string): void {
    this.#layers.writeOut(layer);
  }

  checkUnused(chain: LayerChain, isNoUse = EVERY_MOUNT): void {
    const { layer, kind, parents: [parent] } = chain;
    const own = this.#directory(layer);
    const isWatched = isNoUse === NO_MOUNT;
    requireNothingMountedIn({
      what: `layer ${layer}`,
      trees: [own.path],
      mark: own.tail,
      isWatched,
    });
    if (isWatched) return;
    const uses = mountsOfDirectory(own, (mount) => hasDirectory(mount, own.path, own.tail));
    refuseUses(`layer ${layer}`, uses, isNoUse);
    if (kind === "active" && uses.length === 0 && this.#bound(chain) === undefined) {
      this.#checkUpper(layer);
    }
    if (kind === "view" && parent !== undefined) this.#checkView(chain, parent, isNoUse);
  }

  /**
   * Refuses a layer with a detached mount. It is in no list of mounts, but overlay reports its
   * upper directory as in use.
   */
  #checkUpper(layer: string): void {
    const path = this.#layers.path(layer);
    if (!isDirectory(path) || withFd(openDirectory(path), stateOfUpper) !== "in use") return;
    const holders = holdersOfDetached();
    throw new VeneerError(
      "in use",
      `layer ${layer} has a detached mount: ${
        holders.length === 0 ? "a process holds it" : `${holders.join(", ")} may hold it`
      }; end that first`,
    );
  }

  /**
   * A view consists of its parents' directories only, so a mount of it cannot be told from that of
   * another view on its parent.
   */
  #checkView(chain: LayerChain, parent: string, isNoUse: IsNoUse): void {
    const { path, tail } = this.#directory(parent);
    const isBind = boundLayer(chain) === parent;
    const uses = mountsOfDirectory({ path, tail }, (mount) => isTopOfView(mount, path, tail))
      .filter(({ mount }) => isBind === (mount.type !== "overlay"));
    refuseUses("a view on its parent", uses, (use) => isNoUse(use, true));
  }

  #directory(layer: string): LayerDirectory {
    return { path: this.#layers.path(layer).text, tail: `${layer}/fs` };
  }

  remove(layer: string): void {
    this.#layers.remove(layer, (directory) => this.#quotas.release(directory));
  }

  list(): string[] {
    return this.#layers.list();
  }

  /**
   * The layer whose directory alone a snapshot shows, if there is one. An image's layer that has no
   * parent yet is mounted as the upper of an overlay with an empty lower: engines that unpack into
   * it convert whiteouts only for an overlay, and the layer needs them if it gets a parent at the
   * commit.
   */
  #bound(chain: LayerChain): string | undefined {
    const isOverNothing = chain.kind === "active" && chain.parents.length === 0 &&
      this.#layers.hasLower(chain.layer);
    return isOverNothing ? undefined : boundLayer(chain);
  }

  mounts(chain: LayerChain, remap?: IdMaps, isNew = false): Mount[] {
    if (remap !== undefined && chain.parents.length > 0) return [this.#remapped(chain, remap)];
    const bind = bindMount(this.#layers, chain, this.#bound(chain));
    if (bind !== undefined) return [bind];
    if (isNew) this.#layers.refuseLinksBelow(chain);
    else this.#layers.refuseLinks(chain);
    return [triple(this.#overlay(chain, ""))];
  }

  /**
   * The overlay whose lower layers the client maps. A view of one layer would be a read-only bind
   * mount, which containerd does not map. So the view's own empty directory is a second lower. A
   * layer without a parent has no lower layers, and host ids itself.
   */
  #remapped(chain: LayerChain, { uids, gids }: IdMaps): Mount {
    this.#layers.refuseLinks(chain);
    const overlay = this.#overlay(chain, ""), { lowers } = overlay;
    const isAlone = overlay.upper === undefined && lowers.length === 1;
    const { options, ...mount } = triple(
      isAlone ? { ...overlay, lowers: [...lowers, this.#layers.fs(chain.layer)] } : overlay,
    );
    const maps = [`uidmap=${formatIdMap(uids)}`, `gidmap=${formatIdMap(gids)}`];
    return { ...mount, options: [...maps, ...options] };
  }

  plan(chain: LayerChain, target: string): MountPlan {
    const bind = bindPlan(this.#layers, chain, target, this.#bound(chain));
    if (bind !== undefined) return bind;
    const readOnly = chain.kind !== "active";
    const mount = this.#overlay(chain, target);
    const explain = () => {
      [chain.layer, ...chain.parents].forEach((id) => this.#layers.require(id));
      if (!readOnly) requireWork(this.home.join(this.#layers.work(chain.layer)));
    };
    return {
      path: target,
      steps: [
        checkStep(() => this.#layers.refuseLinks(chain)),
        overlayStep(mount, this.#environment.api, readOnly, explain),
      ],
    };
  }

  #overlay({ layer, kind, parents }: LayerChain, target: string): OverlayMount {
    const upper = { directory: this.#layers.fs(layer), work: this.#layers.work(layer) };
    const lowers = parents.map((parent) => this.#layers.fs(parent));
    return {
      home: this.home.path,
      id: layer,
      target,
      lowers: lowers.length > 0 ? lowers : [this.#layers.lower(layer)],
      upper: kind === "active" ? upper : undefined,
      features: this.#environment.features,
      volatile: false,
    };
  }

  applyTarget({ layer, parents }: LayerChain): ApplyTarget | undefined {
    if (hasUserXattrs(this.#environment)) return undefined;
    const directory = this.#layers.path(layer).text;
    return { directory, whiteouts: "overlay", lowers: this.#layers.paths(parents) };
  }

  nativeDiff({ layer, parents }: LayerChain): NativeDiff | undefined {
    if (hasUserXattrs(this.#environment)) return undefined;
    this.#layers.require(layer);
    const upper = this.#layers.path(layer).text;
    return { kind: "upper", upper, lowers: this.#layers.paths(parents), form: "overlay" };
  }

  usage({ layer, kind }: LayerChain): Usage {
    const counted = kind === "active" ? this.#counted(layer) : undefined;
    if (counted === undefined) return this.#layers.usage(layer);
    // The project includes the layer's other directories.
    const own = this.#layers.usageBeside(layer);
    return {
      bytes: Math.max(0, counted.usedBytes - own.bytes),
      inodes: Math.max(0, counted.usedInodes - own.inodes),
    };
  }

  hasCounters(layer: string): boolean {
    return this.#counted(layer) !== undefined;
  }

  /** The file system's counts of a layer; `undefined` if it has no project. */
  #counted(layer: string): ProjectUsage | undefined {
    return this.#quotas.usage(this.#layers.directory(layer));
  }

  importable(): readonly ImportedSnapshot[] {
    return [];
  }

  imported(): void {}

  labels(layer: string): ReadonlyMap<string, string> {
    if (!this.#environment.options.upperdirLabel) return new Map();
    return new Map([[UPPERDIR_LABEL, this.#layers.path(layer).text]]);
  }

  status(): readonly StatusLine[] {
    return statusOf(this.#environment);
  }

  release(): void {}
}
