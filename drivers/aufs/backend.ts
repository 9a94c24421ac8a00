/**
 * The aufs backend: layers in Docker's layout, mounted by aufs.
 *
 * A layer is made in the home's staging directory. Its parts are then renamed into place, the
 * record last; a removal renames the record away first. A layer without a record is half made or
 * half removed if an entry is staged under its id: then {@linkcode Aufs.dispose} deletes its parts.
 *
 * @module
 */
import { readNames } from "../../ffi/directory.ts";
import { withFd } from "../../ffi/files.ts";
import { diskUsage } from "../union/disk_usage.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from "../../ffi/names.ts";
import {
  birthOf,
  type ConfinedPath,
  mkdir,
  openDirectory,
  removeTree,
  rename,
} from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { LayerBackend, LayerSpec } from "../../lib/graph/backend.ts";
import type { ApplyTarget } from "../../lib/tar/apply/apply_options.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import type { GetOptions } from "../../lib/graph/driver.ts";
import type { Home } from "../../lib/store/home.ts";
import { isName, type ParentRecords } from "../../lib/graph/parent_records.ts";
import { idMapsOf } from "../../lib/store/id_map_records.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { makeLayerRoot } from "../union/layer_root.ts";
import { syncDirectory, writeFile } from "../../lib/store/metadata.ts";
import { checkNewLabel } from "../union/mount_label.ts";
import type { Mount, MountPlan } from "../../lib/mount/plan.ts";
import { treeOf } from "../../lib/mount/mountinfo.ts";
import { disposeProbe, isProbe } from "../union/probe_directory.ts";
import type { LayerMarks } from "../../lib/mount/uses.ts";
import { isWhiteoutMetadata } from "../../lib/tree/whiteouts.ts";
import type { AufsEnvironment } from "./environment.ts";
import { Layout, REMOVING } from "./layout.ts";
import { makeMountPoint, Mounting } from "./mounting.ts";

export class Aufs implements LayerBackend {
  readonly name = "aufs";
  readonly parentRecords: ParentRecords;
  readonly #layout: Layout;
  readonly #environment: AufsEnvironment;
  readonly #mounting: Mounting;

  /**
   * Opens a home. Layers that other programs left half deleted are staged, so that they are deleted
   * like Veneer's own.
   */
  constructor(readonly home: Home, readonly idMaps: IdMaps, environment: AufsEnvironment) {
    this.#layout = new Layout(home);
    this.#mounting = new Mounting(this.#layout, idMaps, environment);
    this.#environment = environment;
    this.parentRecords = chainRecords(home.join("layers"));
    this.#layout.make(idMaps);
    this.#layout.stageLeftovers(environment.warn);
  }

  status(): readonly StatusLine[] {
    return [
      ["Root Dir", this.home.path],
      ["Backing Filesystem", this.#environment.backing],
      ["Dirs", String(this.#layout.count())],
      ["Dirperm1 Supported", String(this.#mounting.mountsWithDirperm1() ?? "unknown")],
    ];
  }

  metadata(id: string): ReadonlyMap<string, string> {
    const layout = this.#layout;
    const lowers = layout.ancestors(id).map((ancestor) => layout.diff(ancestor).text);
    return new Map([
      ...(lowers.length > 0 ? [["LowerDir", lowers.join(":")] as const] : []),
      ["MergedDir", layout.mountPoint(id).text],
      ["UpperDir", layout.diff(id).text],
    ]);
  }

  createdAt(id: string): number | undefined {
    return birthOf(this.#layout.record(id));
  }

  diskUsage(id: string): number {
    const diff = openDirectory(this.#layout.diff(id));
    return withFd(diff, (fd) => diskUsage(fd, isWhiteoutMetadata)).bytes;
  }

  checkId(id: string): void {
    if (!id.endsWith(REMOVING)) return;
    throw new VeneerError(
      "invalid argument",
      `layer id ${id}: names that end in ${REMOVING} are reserved for layers that are being deleted; choose another id`,
    );
  }

  list(): string[] {
    return this.#layout.list();
  }

  exists(id: string): boolean {
    return this.#layout.exists(id);
  }

  parent(id: string): string | undefined {
    const chain = this.#layout.chain(id);
    return chain === undefined ? undefined : chain.at(0) ?? "";
  }

  create(id: string, { parent, mountLabel, storageOptions }: LayerSpec): void {
    const [option] = storageOptions.keys();
    if (option !== undefined) throw noStorageOption(option);
    if (mountLabel !== undefined) checkNewLabel(id, mountLabel);
    const layout = this.#layout;
    const chain = parent === undefined ? [] : this.#chainOfChild(parent);
    this.#mounting.checkNewDepth(id, chain.length);
    layout.requireFree(id);

    const staged = this.home.staging(id);
    mkdir(staged, 0o700);
    const parentRoot = parent === undefined ? undefined : layout.diff(parent);
    makeLayerRoot(staged.join("diff"), parentRoot, this.#idMapsOf(id));
    makeMountPoint(staged.join("mnt"), this.#idMapsOf(id));
    const record = chain.map((ancestor) => `${ancestor}\n`).join("");
    writeFile(staged.join("record"), record, { mode: 0o644, reach: "disk" });
    rename(staged.join("diff"), layout.diff(id), RENAME_NOREPLACE);
    rename(staged.join("mnt"), layout.mountPoint(id));
    syncDirectory(this.home.join("diff"));
    rename(staged.join("record"), layout.record(id), RENAME_NOREPLACE);
    syncDirectory(this.home.join("layers"));
    removeTree(staged);
  }

  #idMapsOf(id: string): IdMaps {
    return idMapsOf(this.home, id, this.idMaps);
  }

  #chainOfChild(parent: string): string[] {
    this.#layout.requireRecord(parent);
    return [parent, ...this.#layout.ancestors(parent)];
  }

  retire(id: string): void {
    const staged = this.home.staging(id), record = this.#layout.record(id);
    mkdir(staged, 0o700);
    // If there is no record, the staged entry alone hides the layer.
    if (this.#layout.isRecorded(id)) rename(record, staged.join("record"));
  }

  dispose(id: string): void {
    if (isProbe(id)) return disposeProbe(this.home, id);
    const isLayer = !id.startsWith(".");
    if (isLayer && this.home.isStaged(id) && !this.#layout.isRecorded(id)) {
      this.#layout.removeTrees(id);
      this.#mounting.forget(id);
    }
    removeTree(this.home.staging(id));
  }

  reset(id: string): void {
    const layout = this.#layout;
    // A layer without a record counts as half removed while an entry is staged under its id.
    layout.requireRecord(id);
    const staged = this.home.staging(id), parent = this.parent(id);
    mkdir(staged, 0o700);
    makeLayerRoot(
      staged.join("diff"),
      parent ? layout.diff(parent) : undefined,
      this.#idMapsOf(id),
    );
    rename(staged.join("diff"), layout.diff(id), RENAME_EXCHANGE);
  }

  isPristine(id: string): boolean {
    const names = withFd(openDirectory(this.#layout.diff(id)), readNames);
    // A mount leaves entries of aufs's own.
    return names.every(isWhiteoutMetadata);
  }

  mountPoint(id: string): string {
    return this.#layout.mountPoint(id).text;
  }

  trees(id: string): string[] {
    return [this.#layout.diff(id).text, this.#layout.mountPoint(id).text];
  }

  marks(id: string): LayerMarks {
    const diff = this.#layout.diff(id).text;
    return { mountPoints: [this.mountPoint(id)], branches: [diff], tree: treeOf(diff) };
  }

  plan(id: string, options: GetOptions): MountPlan {
    return this.#mounting.plan(id, options);
  }

  mounts(id: string, options: GetOptions): Mount[] {
    return this.#mounting.mounts(id, options);
  }

  beforeUnmount(id: string): void {
    this.#mounting.beforeUnmount(id);
  }

  isHalfMounted(id: string): boolean {
    return this.#layout.isMounting(id);
  }

  applyTarget(id: string): ApplyTarget {
    const directory = this.#layout.diff(id).text;
    return { directory, whiteouts: "aufs", lowers: this.#lowersOf(id) };
  }

  finishApply(id: string): void {
    this.#mounting.afterApply(id);
  }

  nativeDiff(id: string): NativeDiff {
    this.#layout.requireDiff(id);
    const upper = this.#layout.diff(id).text;
    return { kind: "upper", upper, lowers: this.#lowersOf(id), form: "aufs" };
  }

  /** The directories of the layers below, uppermost first. */
  #lowersOf(id: string): string[] {
    const layout = this.#layout;
    return layout.ancestors(id).map((ancestor) => layout.diff(ancestor).text);
  }

  release(): void {}
}

/** The records of layers, read for their parents: a layer's first line is its parent. */
function chainRecords(directory: ConfinedPath): ParentRecords {
  return {
    layers: directory,
    directory,
    path: (id) => id,
    parents(start, isWhole) {
      const line = /[^\n]+/.exec(start)?.[0] ?? "";
      // Empty lines may come before it, so it may lie beyond the part that was read.
      return start.endsWith(line) && !isWhole ? undefined : [line].filter(isName);
    },
    names: (id) => [id],
  };
}

const noStorageOption = (option: string) =>
  new VeneerError(
    "invalid argument",
    `storage option ${option}: layers of aufs have no options and no limits; leave it out or use another driver`,
  );
