/**
 * The btrfs backend: a layer is a subvolume, and a child begins as a snapshot of its parent. A
 * layer is used at its path in the home; only a read-only use needs a mount.
 *
 * A snapshot is complete as soon as it exists. A layer that takes more steps is made in a staging
 * directory and then renamed into place; before its deletion every layer is renamed into such a
 * directory. The commit that makes a snapshot includes all records written before it, so a layer
 * with a parent costs one commit and no further sync.
 *
 * @module
 */
import {
  createSnapshot,
  createSubvolume,
  isReadOnly,
  setReadOnly,
  type SubvolumeInfo,
  subvolumeInfo,
} from "../../ffi/btrfs_subvolume.ts";
import { readSomeEntries } from "../../ffi/directory.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, openat, withFd } from "../../ffi/files.ts";
import { AT_REMOVEDIR, RENAME_EXCHANGE, RENAME_NOREPLACE, renameat } from "../../ffi/names.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { LayerBackend, LayerSpec, Scratch } from "../../lib/graph/backend.ts";
import type { ApplyTarget } from "../../lib/tar/apply/apply_options.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import type { GetOptions } from "../../lib/graph/driver.ts";
import {
  type ConfinedPath,
  makeDirectory,
  openDirectory,
  rename,
  unlink,
} from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";
import type { MountPlaces } from "../../lib/store/mount_places.ts";
import { ownParentRecords, type ParentRecords } from "../../lib/graph/parent_records.ts";
import { idMapsOf } from "../../lib/store/id_map_records.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { syncDirectory } from "../../lib/store/metadata.ts";
import { bindReadOnly, type Mount, type MountPlan, type MountStep } from "../../lib/mount/plan.ts";
import { isMountPoint, treeOf } from "../../lib/mount/mountinfo.ts";
import type { LayerMarks } from "../../lib/mount/uses.ts";
import { isSubvolume, LAYER, LAYER_NAME, type Layout } from "./layout.ts";
import { checkMappedVolume, deviceOf } from "./mounting.ts";
import { nativeDiff } from "./native_diff.ts";
import { type BtrfsOptions, parseLayerSize } from "./options.ts";
import { labelOf, ownRoot, relabel } from "./ownership.ts";
import type { Quota } from "./quota.ts";
import { layerUsage } from "./snapshots_usage.ts";
import { layerMetadata, statusLines } from "./status.ts";
import { removeStaged, removeSubvolume } from "./subvolumes.ts";

export class Btrfs implements LayerBackend {
  readonly name = "btrfs";
  readonly movesStaged = true;
  readonly parentRecords: ParentRecords;
  readonly #layout: Layout;
  readonly #quota: Quota;
  readonly #options: BtrfsOptions;

  /** @param places the places beside the home, for mounts with mapped ids */
  constructor(
    layout: Layout,
    quota: Quota,
    options: BtrfsOptions,
    readonly idMaps: IdMaps,
    readonly places: MountPlaces,
  ) {
    this.#layout = layout;
    this.#quota = quota;
    this.#options = options;
    this.parentRecords = {
      ...ownParentRecords(layout.home),
      layers: layout.layers,
      names: (id) => [id, nameOf(this.#tryInfo(id)?.uuid)].filter((name) => name !== undefined),
      // Docker records no parents in this layout, but a snapshot knows its source.
      origin: (id) => nameOf(this.#tryInfo(id)?.parentUuid),
    };
  }

  get home(): Home {
    return this.#layout.home;
  }

  status(): readonly StatusLine[] {
    const lines = withFd(openDirectory(this.home.join()), statusLines);
    return [...lines, ["Native Diff", "send"]];
  }

  metadata(id: string): ReadonlyMap<string, string> {
    const layout = this.#layout;
    return layout.withLayer(
      id,
      (subvolume) => layerMetadata(subvolume, layout.layer(id).text, layout.recordedSize(id)),
    );
  }

  storageOptions(id: string): ReadonlyMap<string, string> {
    const size = this.#layout.recordedSize(id);
    return new Map(size === undefined ? [] : [["size", String(size)]]);
  }

  createdAt(id: string): number | undefined {
    return this.#tryInfo(id)?.birth;
  }

  diskUsage(id: string, isLeaf: boolean): number {
    return this.#layout.withLayer(id, (subvolume) => layerUsage(subvolume, isLeaf));
  }

  checkId(): void {}

  list(): string[] {
    return this.#layout.list();
  }

  exists(id: string): boolean {
    return this.#layout.exists(id);
  }

  parent(id: string): string | undefined {
    return this.home.recordedParent(id);
  }

  /**
   * The kernel's facts about a layer; `undefined` if it is damaged, so that other layers can still
   * be removed.
   */
  #tryInfo(id: string): SubvolumeInfo | undefined {
    try {
      return this.#layout.withLayer(id, subvolumeInfo);
    } catch {
      return undefined;
    }
  }

  create(id: string, spec: LayerSpec): void {
    const size = parseLayerSize(spec, this.#options);
    if (size !== undefined) this.#quota.enable(`layer ${id}, storage option size`);
    const layout = this.#layout;
    this.#withStaging(id, (staged) => {
      this.home.recordParent(id, spec.parent, { sync: false });
      const isPlain = size === undefined && !spec.mountLabel;
      if (spec.parent !== undefined && isPlain && !this.#isSized(spec.parent)) {
        // It is complete as soon as it exists, and one commit writes it and its record to disk.
        withFd(
          openDirectory(layout.layers),
          (layers) => this.#makeSubvolume(layers, entryName(id), id, spec.parent),
        );
        return;
      }
      this.#makeSubvolume(staged, LAYER_NAME, id, spec.parent);
      if (spec.mountLabel) relabel(this.home.staging(id).join(LAYER), spec.mountLabel);
      if (size !== undefined) {
        const { parent } = spec;
        if (parent !== undefined) {
          this.#withStaged(staged, (fd) => this.#quota.checkInherited(fd, size, parent));
        }
        layout.recordSize(id, size);
        this.#limit(staged, id, size);
      }
      withFd(openDirectory(layout.layers), (layers) => {
        renameat(staged, LAYER_NAME, layers, entryName(id), RENAME_NOREPLACE);
      });
      syncDirectory(layout.layers);
    });
    this.#quota.sweep();
  }

  /** Runs `use` with a new staging directory, which it must leave empty. */
  #withStaging(id: string, use: (staged: number) => void): void {
    const path = this.home.staging(id);
    makeDirectory(path, 0o700);
    withFd(openDirectory(path), use);
    unlink(path, AT_REMOVEDIR);
  }

  /**
   * Makes a subvolume in an open directory: a snapshot of the parent or, without a parent, an empty
   * one that container root owns.
   */
  #makeSubvolume(directory: number, name: EntryName, id: string, parent?: string): void {
    if (parent !== undefined) {
      this.#layout.withLayer(parent, (source) => createSnapshot(directory, name, source));
      if (this.#isSized(parent)) this.#unlimit(directory, name, id);
      return;
    }
    createSubvolume(directory, name);
    const idMaps = idMapsOf(this.home, id, this.idMaps);
    withFd(openat(directory, name, O_RDONLY | O_DIRECTORY), (root) => ownRoot(root, idMaps));
  }

  #isSized(id: string): boolean {
    return this.#layout.recordedSize(id) !== undefined;
  }

  #unlimit(directory: number, name: EntryName, id: string): void {
    const path = this.#layout.layer(id).text;
    withFd(
      openat(directory, name, O_RDONLY | O_DIRECTORY),
      (subvolume) => this.#quota.unlimit(subvolume, path),
    );
  }

  #limit(staged: number, id: string, size: number): void {
    this.#withStaged(
      staged,
      (subvolume) => this.#quota.limit(subvolume, size, this.#layout.layer(id).text),
    );
  }

  /** Runs `use` on the subvolume in a staging directory. */
  #withStaged(staged: number, use: (subvolume: number) => void): void {
    withFd(openat(staged, LAYER_NAME, O_RDONLY | O_DIRECTORY), use);
  }

  retire(id: string): void {
    const path = this.#layout.layer(id);
    // The kernel does not move a read-only subvolume: the entry `..` in it would change.
    withFd(openDirectory(path), makeWritable);
    const staged = this.home.staging(id);
    makeDirectory(staged, 0o700);
    rename(path, staged.join(LAYER), RENAME_NOREPLACE);
  }

  dispose(id: string): void {
    if (!this.exists(id)) this.#layout.forgetSize(id);
    if (!removeStaged(this.home.staging(id), () => this.#quota.doomer())) return;
    this.#quota.sweep();
  }

  reset(id: string): void {
    const layout = this.#layout;
    this.#withStaging(id, (staged) => {
      this.#makeSubvolume(staged, LAYER_NAME, id, this.parent(id) || undefined);
      withFd(openDirectory(layout.layer(id)), (before) => {
        makeWritable(before);
        this.#relabelAs(before, id);
      });
      const size = this.#effectiveSize(id);
      if (size !== undefined) this.#limit(staged, id, size);
      // Both by path, because the home may become a mount meanwhile.
      rename(this.home.staging(id).join(LAYER), layout.layer(id), RENAME_EXCHANGE);
      removeSubvolume(staged, LAYER, this.#quota.doomer());
    });
    this.#quota.sweep();
  }

  /** Gives the staged layer the SELinux label of the layer that it replaces. */
  #relabelAs(before: number, id: string): void {
    const staged = this.home.staging(id).join(LAYER);
    const label = labelOf(before);
    const has = withFd(openDirectory(staged), labelOf);
    if (label !== undefined && label !== has) relabel(staged, label);
  }

  isPristine(id: string): boolean {
    return this.#layout.withLayer(id, (subvolume) => {
      const { changed, created, parentUuid } = subvolumeInfo(subvolume);
      return parentUuid === "" ? readSomeEntries(subvolume).length === 0 : changed <= created;
    });
  }

  mountPoint(id: string): string {
    return this.#mountPoint(id).text;
  }

  #mountPoint(id: string): ConfinedPath {
    return this.places.of(id, this.#layout.layer(id));
  }

  trees(id: string): string[] {
    return [this.#layout.layer(id).text];
  }

  marks(id: string): LayerMarks {
    return { mountPoints: [this.mountPoint(id)], tree: treeOf(this.#layout.layer(id).text) };
  }

  checkMapped(): void {
    checkMappedVolume();
  }

  /**
   * Without mapped ids only a read-only use needs a mount, which binds the layer on itself. A mount
   * with mapped ids is beside the home: over the layer it would hide the unmapped ids from Veneer,
   * which uses the layer's path.
   */
  plan(id: string, { readOnly, idMaps }: GetOptions): MountPlan {
    const path = this.#layout.layer(id).text;
    if (idMaps !== undefined) this.places.chooseBeside(id);
    const place = this.#mountPoint(id);
    if (this.places.isBeside(id)) return this.#planBeside(id, place, readOnly ?? false);
    // If the layer is mounted, its plan has these steps for any options, because they are the steps
    // to undo.
    if (readOnly || isMountPoint(path)) return { path, steps: bindReadOnly(path, path) };
    const size = this.#effectiveSize(id);
    return { path, steps: size === undefined ? [] : [this.#applyLimit(id, size)] };
  }

  #planBeside(id: string, path: ConfinedPath, readOnly: boolean): MountPlan {
    const size = this.#effectiveSize(id);
    const [bind, ...remount] = bindReadOnly(this.#layout.layer(id).text, path.text);
    return {
      path: path.text,
      steps: [
        { kind: "directory", path, mode: 0o700, uid: 0, gid: 0 },
        ...readOnly || size === undefined ? [] : [this.#applyLimit(id, size)],
        bind,
        ...readOnly ? remount : [],
      ],
    };
  }

  /** The limit to enforce for a layer. A recorded limit below `btrfs.min_space` is ignored. */
  #effectiveSize(id: string): number | undefined {
    if (this.#options.quota === "off") return undefined;
    const size = this.#layout.recordedSize(id);
    return size !== undefined && size > 0 && size >= this.#options.minSpace ? size : undefined;
  }

  /**
   * Sets the limit again: the kernel has lost it if quotas were turned off and on again, or if the
   * store was copied from another file system.
   */
  #applyLimit(id: string, size: number): MountStep {
    return {
      kind: "prepare",
      name: "limit the size",
      perform: () => {
        this.#quota.enable(`layer ${id}, which has a size,`);
        this.#layout.withLayer(
          id,
          (subvolume) => this.#quota.limit(subvolume, size, this.#layout.layer(id).text),
        );
      },
      undo: () => {},
    };
  }

  mounts(id: string, options: GetOptions): Mount[] {
    const subvolume = this.#layout.withLayer(id, (fd) => subvolumeInfo(fd).id);
    const access = options.readOnly ? "ro" : "rw";
    return [{
      type: "btrfs",
      source: deviceOf(this.home.path),
      options: [access, `subvolid=${subvolume}`],
    }];
  }

  applyTarget(id: string): ApplyTarget {
    return { directory: this.#layout.layer(id).text, whiteouts: "none" };
  }

  nativeDiff(id: string, scratch: Scratch): NativeDiff | undefined {
    const parent = this.parent(id);
    // A snapshot must be made.
    if (!parent || !this.exists(parent) || this.home.isReadOnly) return undefined;
    return this.#layout.withLayer(
      id,
      (child) =>
        this.#layout.withLayer(
          parent,
          (base) =>
            nativeDiff(
              child,
              base,
              this.#layout.layer(parent),
              () => this.home.staging(scratch()),
            ),
        ),
    );
  }

  release(): void {
    this.#quota.close(this.#options.minSpace > 0 || this.#layout.hasSizes());
  }
}

function makeWritable(fd: number): void {
  if (isSubvolume(fd) && isReadOnly(fd)) setReadOnly(fd, false);
}

/**
 * A UUID as a name of {@linkcode ParentRecords}: `""` if there is none, `undefined` if it is
 * unknown.
 */
function nameOf(uuid: string | undefined): string | undefined {
  return uuid && `uuid:${uuid}`;
}
