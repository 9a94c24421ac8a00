/**
 * The btrfs backend of snapshots: an active snapshot is a btrfs snapshot of its parent's subvolume,
 * a view is a read-only one, and a commit makes a read-only one of the active one.
 *
 * Every layer is made by one call that makes a snapshot, so either it exists completely and is on
 * disk, or it does not exist. An empty layer is a snapshot of a new subvolume. Layers are never
 * moved: the kernel does not move a read-only subvolume, and one that becomes read-only can still
 * be written to through files that are open.
 *
 * Removing a subvolume is one call, too, but a power failure may bring the subvolume back. If a new
 * layer finds one in its place, that belongs to no snapshot and is removed.
 *
 * @module
 */
import {
  createSnapshot,
  createSubvolume,
  nestedSubvolumes,
  subvolumeInfo,
} from "../../ffi/btrfs_subvolume.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { EEXIST, SyscallError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, openat, withFd } from "../../ffi/files.ts";
import { MS_RDONLY } from "../../ffi/mount.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { makeDirectory, openDirectory } from "../../lib/tree/confined.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { Home } from "../../lib/store/home.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { requireNothingMountedIn } from "../../lib/mount/inner_mounts.ts";
import type { Mount, MountPlan } from "../../lib/mount/plan.ts";
import {
  EVERY_MOUNT,
  type ImportedSnapshot,
  type LayerChain,
  type PrepareOptions,
  type SnapshotBackend,
} from "../../lib/snapshots/backend.ts";
import { NO_LIMITS, type SnapshotLimits } from "../../lib/snapshots/limits.ts";
import type { SnapshotKind, Usage } from "../../lib/snapshots/snapshotter.ts";
import { refuseUses } from "../../lib/snapshots/layer_mounts.ts";
import { LAYER_NAME } from "./layout.ts";
import type { ApplyTarget } from "../../lib/tar/apply/apply_options.ts";
import { checkMappedVolume, deviceOf, mountsOf } from "./mounting.ts";
import { ownRoot } from "./ownership.ts";
import type { Quota } from "./quota.ts";
import { layerOf, type SnapshotLayout } from "./snapshots_layout.ts";
import { readSeed, removeSeed } from "./snapshots_seed.ts";
import { activeUsage, committedUsage } from "./snapshots_usage.ts";
import { statusLines } from "./status.ts";
import { removeStaged, removeSubvolume } from "./subvolumes.ts";

/** The settings of the backend. */
export interface BtrfsSnapshotsOptions {
  /** The device to mount; `undefined` for the one from which the file system was mounted. */
  readonly device: string | undefined;
  readonly idMaps: IdMaps;
  readonly warn: Warn;
}

export class BtrfsSnapshots implements SnapshotBackend {
  readonly name = "btrfs";
  readonly rebases = false;
  readonly #layout: SnapshotLayout;
  readonly #quota: Quota;
  readonly #options: BtrfsSnapshotsOptions;

  constructor(layout: SnapshotLayout, quota: Quota, options: BtrfsSnapshotsOptions) {
    this.#layout = layout;
    this.#quota = quota;
    this.#options = options;
  }

  get home(): Home {
    return this.#layout.home;
  }

  layerFor(kind: SnapshotKind, name: string): string {
    return layerOf(kind, name);
  }

  checkLimits({ inodes }: SnapshotLimits, what: string): void {
    if (inodes > 0) {
      throw new VeneerError(
        "not supported",
        `${what}: btrfs limits the space of a snapshot, not its inodes; leave snapshot.inodes out`,
      );
    }
    this.#quota.enable(what);
  }

  prepare({ layer, kind, parents: [parent] }: LayerChain, { limits }: PrepareOptions = {}): void {
    const { bytes } = limits ?? NO_LIMITS;
    // Turned on again, because a cleanup may have turned quotas off.
    if (bytes > 0) this.#quota.enable(`snapshot ${layer}, which has a size,`);
    const readOnly = kind === "view";
    const snapshot = (source: number) => this.#snapshot(source, layer, readOnly);
    if (parent === undefined) this.#withEmpty(layer, snapshot);
    else this.#layout.withLayer(parent, snapshot);
    if (bytes === 0) return;
    const path = this.#layout.path(layer).text;
    this.#layout.withLayer(layer, (subvolume) => this.#quota.limitOwn(subvolume, bytes, path));
  }

  /** Makes a layer as a snapshot of an open subvolume. */
  #snapshot(source: number, layer: string, readOnly: boolean): void {
    this.#layout.withPlace(layer, (directory, name) => {
      try {
        createSnapshot(directory, entryName(name), source, { readOnly });
      } catch (error) {
        if (!(error instanceof SyscallError) || error.errno !== EEXIST) throw error;
        removeSubvolume(directory, name, this.#quota.doomer());
        createSnapshot(directory, entryName(name), source, { readOnly });
      }
    });
  }

  /**
   * Runs `use` on a new empty subvolume that container root owns; the subvolume is removed
   * afterwards.
   */
  #withEmpty(layer: string, use: (empty: number) => void): void {
    this.#removeStaged(layer);
    const path = this.home.staging(layer);
    makeDirectory(path, 0o700);
    withFd(openDirectory(path), (staged) => {
      createSubvolume(staged, LAYER_NAME);
      withFd(openat(staged, LAYER_NAME, O_RDONLY | O_DIRECTORY), (empty) => {
        ownRoot(empty, this.#options.idMaps);
        use(empty);
      });
    });
    this.#removeStaged(layer);
  }

  seal(): void {
    throw new TypeError("a committed layer of btrfs is made by freeze");
  }

  freeze({ layer }: LayerChain, committed: string): void {
    this.#layout.withLayer(layer, (active) => {
      this.#snapshot(active, committed, true);
      const path = this.#layout.path(committed).text;
      this.#layout.withLayer(committed, (made) => this.#quota.unlimit(made, path));
      const nested = nestedSubvolumes(active).length;
      if (nested === 0) return;
      const what = nested === 1 ? "a subvolume lies" : `${nested} subvolumes lie`;
      this.#options.warn(
        `${what} in ${this.#layout.path(layer)}: a snapshot of it has an empty directory for each`,
      );
    });
  }

  checkUnused({ layer }: LayerChain, isNoUse = EVERY_MOUNT): void {
    if (!this.#layout.exists(layer)) return;
    const path = this.#layout.path(layer);
    requireNothingMountedIn({ what: `layer ${layer}`, trees: [path.text], mark: path.name });
    const id = this.#subvolume(layer);
    refuseUses(`subvolume ${id}`, mountsOf(this.home.path, id), isNoUse);
  }

  remove(layer: string): void {
    this.#layout.withPlace(
      layer,
      (directory, name) => removeSubvolume(directory, name, this.#quota.doomer()),
    );
    this.#removeStaged(layer);
    this.#quota.sweep();
  }

  #removeStaged(layer: string): void {
    removeStaged(this.home.staging(layer), () => this.#quota.doomer());
  }

  list(): string[] {
    return this.#layout.list();
  }

  mounts({ layer, kind }: LayerChain): Mount[] {
    const subvolume = `subvolid=${this.#subvolume(layer)}`;
    return [{
      type: "btrfs",
      source: this.#device(),
      options: kind === "active" ? [subvolume] : [subvolume, "ro"],
    }];
  }

  checkMapped(): void {
    checkMappedVolume();
  }

  plan({ layer, kind }: LayerChain, target: string): MountPlan {
    const source = this.#device();
    return {
      path: target,
      steps: [{
        kind: "mount",
        source,
        target,
        type: "btrfs",
        flags: kind === "active" ? 0 : MS_RDONLY,
        data: `subvolid=${this.#subvolume(layer)}`,
        explain: () => explainDevice(source),
      }],
    };
  }

  #subvolume(layer: string): bigint {
    return this.#layout.withLayer(layer, (fd) => subvolumeInfo(fd).id);
  }

  #device(): string {
    return this.#options.device ?? deviceOf(this.home.path);
  }

  applyTarget({ layer }: LayerChain): ApplyTarget {
    return { directory: this.#layout.path(layer).text, whiteouts: "none" };
  }

  tree(layer: string): string {
    return this.#layout.path(layer).text;
  }

  usage({ layer, kind, parents: [parent] }: LayerChain): Usage {
    const layout = this.#layout;
    const base = parent === undefined ? undefined : layout.withLayer(parent, subvolumeInfo);
    const count = kind === "active" ? activeUsage : committedUsage;
    return layout.withLayer(layer, (subvolume) => count(subvolume, base));
  }

  importable(): readonly ImportedSnapshot[] {
    return readSeed(this.#layout, this.#options.warn);
  }

  imported(): void {
    removeSeed(this.home);
  }

  status(): readonly StatusLine[] {
    const lines = withFd(openDirectory(this.home.join()), statusLines);
    return [...lines, ["Device", this.#device()]];
  }

  release(): void {
    this.#quota.close(false);
  }
}

/**
 * @throws {VeneerError} `not found` if the device does not exist at the path from which it was
 * mounted
 */
function explainDevice(device: string): void {
  if (tryLstat(device) !== undefined) return;
  throw new VeneerError(
    "not found",
    `${device}, which the file system was mounted from, is missing; name its device in the option btrfs.device`,
  );
}
