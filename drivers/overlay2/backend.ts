/**
 * The overlay2 backend: layers in Docker's layout, mounted by overlay.
 *
 * A layer is made in the home's staging directory and then renamed into place. The link in `l/` is
 * made before that rename, and removed before the layer's files. In both cases the file `link` in
 * the staged directory has its name.
 *
 * @module
 */
import { EEXIST, ELOOP, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, withFd } from "../../ffi/files.ts";
import { diskUsage } from "../union/disk_usage.ts";
import { readSomeEntries } from "../../ffi/directory.ts";
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from "../../ffi/names.ts";
import {
  birthOf,
  type ConfinedPath,
  exists,
  list,
  openDirectory,
  removeTree,
  rename,
  tryLchown,
  tryOpen,
  trySymlink,
  tryUnlink,
  unwrapConfined,
} from "../../lib/tree/confined.ts";
import { codeOf, VeneerError } from "../../lib/base/errors.ts";
import type { Remedy } from "../../lib/base/remedy.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { LayerBackend, LayerSpec } from "../../lib/graph/backend.ts";
import type { ApplyTarget } from "../../lib/tar/apply/apply_options.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import type { GetOptions } from "../../lib/graph/driver.ts";
import type { Home } from "../../lib/store/home.ts";
import type { MountPlaces } from "../../lib/store/mount_places.ts";
import type { ParentRecords } from "../../lib/graph/parent_records.ts";
import { idMapsOf } from "../../lib/store/id_map_records.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { isId } from "../../lib/base/ids.ts";
import { makeLayerRoot } from "../union/layer_root.ts";
import { readMetadata, syncDirectory, writeFile } from "../../lib/store/metadata.ts";
import { checkLabel, checkNewLabel } from "../union/mount_label.ts";
import { bindReadOnly, type Mount, type MountPlan, type MountStep } from "../../lib/mount/plan.ts";
import { isMountPoint, treeOf } from "../../lib/mount/mountinfo.ts";
import { checkKnown } from "../../lib/base/options.ts";
import { disposeProbe, isProbe } from "../union/probe_directory.ts";
import { ProjectQuotas } from "./project_quota.ts";
import { isLimited } from "../../lib/snapshots/limits.ts";
import { stateOfUpper } from "../../lib/mount/upper_state.ts";
import type { LayerMarks } from "../../lib/mount/uses.ts";
import {
  isLinkName,
  Layout,
  LINKS,
  linkTarget,
  makeLayerDirectory,
  makeWork,
  newLinkName,
  requireWork,
} from "./layout.ts";
import {
  checkDepth,
  checkLength,
  MAX_LOWERS,
  type OverlayMount,
  overlayStep,
  triple,
} from "./mount_data.ts";
import { checkIdmappedLayers } from "./kernel.ts";
import { hasUserXattrs, type Overlay2Environment, statusOf } from "./environment.ts";
import { lowerRecords } from "./lower_records.ts";
import { parseLayerLimits } from "./options.ts";
import { probe, type Probed } from "./probe.ts";
import { clearVolatile, prepareVolatile } from "./volatile.ts";

/**
 * The mode of a layer's records, which is Docker's. They are on disk before the layer is in place.
 */
const RECORD = { mode: 0o644, reach: "disk" } as const;

const JOIN: Remedy = { kind: "join", of: "layers" };

export class Overlay2 implements LayerBackend {
  readonly name = "overlay2";
  readonly movesStaged = true;
  readonly #layout: Layout;
  readonly #environment: Overlay2Environment;
  readonly #quotas: ProjectQuotas;
  readonly parentRecords: ParentRecords;
  #probed: Probed | undefined;

  constructor(
    readonly home: Home,
    readonly idMaps: IdMaps,
    environment: Overlay2Environment,
    readonly places: MountPlaces,
  ) {
    this.#layout = new Layout(home);
    this.parentRecords = lowerRecords(this.#layout);
    this.#environment = environment;
    this.#quotas = new ProjectQuotas(home);
    if (isLimited(environment.options.limits)) {
      this.#quotas.require("the options overlay2.size and overlay2.inodes");
    }
  }

  #idMapsOf(id: string): IdMaps {
    return idMapsOf(this.home, id, this.idMaps);
  }

  status(): readonly StatusLine[] {
    const { unreadable, metacopy } = this.#probe();
    return statusOf(this.#environment, [
      ["Using metacopy", String(metacopy)],
      ["Native Overlay Diff", String(unreadable === undefined)],
    ]);
  }

  metadata(id: string): ReadonlyMap<string, string> {
    const layout = this.#layout;
    const entries: [string, string][] = [
      ["WorkDir", layout.work(id).text],
      ["MergedDir", layout.merged(id).text],
      ["UpperDir", layout.diff(id).text],
    ];
    const lowers = layout.ancestors(id).map((ancestor) => layout.diff(ancestor));
    if (lowers.length > 0) entries.unshift(["LowerDir", lowers.join(":")]);
    const usage = this.#quotas.usage(layout.layer(id));
    if (usage?.bytes) entries.push(["Size", String(usage.bytes)]);
    if (usage?.inodes) entries.push(["Inodes", String(usage.inodes)]);
    return new Map(entries);
  }

  storageOptions(id: string): ReadonlyMap<string, string> {
    const usage = this.#quotas.usage(this.#layout.layer(id));
    return new Map([
      ...(usage?.bytes ? [["size", String(usage.bytes)] as const] : []),
      ...(usage?.inodes ? [["inodes", String(usage.inodes)] as const] : []),
    ]);
  }

  createdAt(id: string): number | undefined {
    return birthOf(this.#layout.layer(id));
  }

  diskUsage(id: string): number {
    const layout = this.#layout;
    return this.#quotas.usage(layout.layer(id))?.usedBytes ??
      withFd(openDirectory(layout.diff(id)), (fd) => diskUsage(fd)).bytes;
  }

  checkId(id: string): void {
    if (id !== LINKS) return;
    throw new VeneerError(
      "invalid argument",
      `layer id ${LINKS}: overlay2 keeps its links there; choose another id`,
    );
  }

  list(): string[] {
    return this.#layout.list();
  }

  exists(id: string): boolean {
    return this.#layout.exists(id);
  }

  parent(id: string): string | undefined {
    return this.#layout.parent(id);
  }

  create(id: string, spec: LayerSpec): void {
    const limits = parseLayerLimits(spec, this.#environment.options.limits);
    if (spec.mountLabel !== undefined) checkNewLabel(id, spec.mountLabel);
    const layout = this.#layout;
    const lowers = spec.parent === undefined ? [] : layout.lowersOfChild(spec.parent);
    const mount = { ...this.#mount(id, lowers, {}), label: spec.mountLabel };
    checkDepth(mount, this.#environment.api, JOIN);
    if (isLimited(limits)) this.#quotas.require(`layer ${id}, storage options size and inodes`);

    const staged = this.home.staging(id);
    makeLayerDirectory(staged, this.#idMapsOf(id));
    // This comes first, so that everything in the layer inherits the project.
    if (isLimited(limits)) this.#quotas.assign(staged, limits);
    const parentDiff = spec.parent === undefined ? undefined : layout.diff(spec.parent);
    makeLayerRoot(staged.join("diff"), parentDiff, this.#idMapsOf(id));
    if (lowers.length > 0) {
      makeWork(staged.join("work"), this.#idMapsOf(id));
      writeFile(staged.join("lower"), lowers.join(":"), RECORD);
    }
    this.#makeLink(id, staged);
    syncDirectory(staged);
    // Before the child is in place, because from then on the parent must not be written to.
    if (spec.parent !== undefined) this.#commit(spec.parent);
    rename(staged, layout.layer(id), RENAME_NOREPLACE);
    syncDirectory(this.home.join());
  }

  /** Chooses the layer's short name, records it in `link`, and makes the link. */
  #makeLink(id: string, staged: ConfinedPath): void {
    for (;;) {
      const name = newLinkName();
      writeFile(staged.join("link"), name, RECORD);
      const path = this.#layout.links().join(name);
      const result = trySymlink(linkTarget(id), path);
      if (result === -EEXIST) continue;
      unwrapConfined(result, "symlink", path);
      syncDirectory(this.#layout.links());
      return;
    }
  }

  /** Marks a layer that gets a child, like Docker. */
  #commit(id: string): void {
    const mark = this.#layout.committed(id);
    if (!exists(mark)) writeFile(mark, "", { reach: "disk" });
  }

  isCommitted(id: string): boolean {
    return exists(this.#layout.committed(id));
  }

  uncommitParent(id: string, hasChildren: (parent: string) => boolean): void {
    const [entry] = readRecord(this.home.staging(id).join("lower"))?.split(":") ?? [];
    const parent = isLinkName(entry?.slice("l/".length) ?? "")
      ? this.#layout.linkTarget(entry.slice("l/".length))?.split("/").at(1)
      : undefined;
    if (parent === undefined || !isId(parent) || !this.isCommitted(parent)) return;
    if (!hasChildren(parent)) tryUnlink(this.#layout.committed(parent));
  }

  retire(id: string): void {
    rename(this.#layout.layer(id), this.home.staging(id), RENAME_NOREPLACE);
  }

  dispose(id: string): void {
    if (isProbe(id)) return disposeProbe(this.home, id);
    const staged = this.home.staging(id);
    for (const name of this.#linksOf(id, staged)) this.#removeLink(id, name);
    this.#quotas.release(staged);
    removeTree(staged);
  }

  /** The names of a staged layer's links. If its own record is damaged, all links are searched. */
  #linksOf(id: string, staged: ConfinedPath): string[] {
    const record = readRecord(staged.join("link"));
    if (record === undefined) return [];
    if (isLinkName(record)) {
      return this.#layout.linkTarget(record) === linkTarget(id) ? [record] : [];
    }
    return this.#layout.exists(id) ? [] : this.#layout.linksTo(id);
  }

  /** Removes a link, unless it belongs to the layer that is in place under the same id. */
  #removeLink(id: string, name: string): void {
    if (readRecord(this.#layout.layer(id).join("link")) === name) return;
    const path = this.#layout.links().join(name);
    const result = tryUnlink(path);
    if (result !== -ENOENT) unwrapConfined(result, "unlink", path);
  }

  reset(id: string): void {
    try {
      this.#replaceContent(id);
    } catch (error) {
      if (codeOf(error) !== "limit exceeded") throw error;
      // Nothing new can be created, so the layer's files are deleted in place to free space. The
      // layer is marked incomplete until the end of the reset.
      const diff = this.#layout.diff(id);
      for (const name of list(diff)) removeTree(diff.join(name));
      removeTree(this.home.staging(id));
      this.#replaceContent(id);
    }
  }

  /** Replaces a layer's content by empty directories. */
  #replaceContent(id: string): void {
    const layout = this.#layout;
    const parent = layout.parent(id);
    const staged = this.home.staging(id);
    makeLayerDirectory(staged, this.#idMapsOf(id));
    makeLayerRoot(
      staged.join("diff"),
      parent ? layout.diff(parent) : undefined,
      this.#idMapsOf(id),
    );
    const parts = ["diff"];
    if (parent !== "") {
      makeWork(staged.join("work"), this.#idMapsOf(id));
      parts.push("work");
    }
    for (const part of parts) {
      const path = layout.layer(id).join(part);
      // The project comes last: it may be full, and then nothing could be made in it.
      this.#quotas.inherit(staged.join(part), layout.layer(id));
      rename(staged.join(part), path, RENAME_EXCHANGE);
    }
  }

  isPristine(id: string): boolean {
    return withFd(openDirectory(this.#layout.diff(id)), readSomeEntries).length ===
      0;
  }

  mountPoint(id: string): string {
    return this.#mountPoint(id).text;
  }

  #mountPoint(id: string): ConfinedPath {
    return this.places.of(id, this.#layout.merged(id));
  }

  trees(id: string): string[] {
    return [this.#layout.layer(id).text];
  }

  marks(id: string): LayerMarks {
    const layout = this.#layout, diff = layout.diff(id).text;
    return {
      mountPoints: [this.mountPoint(id)],
      branches: [diff, layout.work(id).text],
      tree: treeOf(diff),
    };
  }

  isUpperInUse(id: string): boolean {
    const diff = this.#layout.diff(id);
    const fd = tryOpen(diff, O_RDONLY | O_DIRECTORY);
    if ([-ENOENT, -ENOTDIR, -ELOOP].includes(fd)) return false;
    return withFd(unwrapConfined(fd, "open", diff), stateOfUpper) === "in use";
  }

  checkMapped(): void {
    checkIdmappedLayers("an id map");
  }

  plan(id: string, options: GetOptions): MountPlan {
    return this.home.root.hold(() => this.#plan(id, options));
  }

  #plan(id: string, options: GetOptions): MountPlan {
    const lowers = this.#layout.lowers(id);
    if (lowers.length === 0) {
      this.#layout.requireDiff(id);
      // A base layer that is mounted with ids mapped has this plan as long as it is.
      const isBound = options.readOnly || options.idMaps !== undefined ||
        isMountPoint(this.mountPoint(id));
      return isBound
        ? this.#boundBase(id, options.readOnly ?? false)
        : { path: this.#layout.diff(id).text, steps: [] };
    }
    const mount = this.#mount(id, lowers, options);
    const path = this.#mountPoint(id);
    const { uids: { root: uid }, gids: { root: gid } } = this.#idMapsOf(id);
    const steps: MountStep[] = [
      this.#checkLinks(mount),
      mountDirectory(path, uid, gid),
      this.#mountStep(mount, options.readOnly ?? false),
    ];
    // Overlay makes it as the real root's.
    if (mount.upper && (uid || gid)) steps.push(this.#ownWork(id, uid, gid));
    return { path: path.text, steps };
  }

  /**
   * The plan for a bind mount of a base layer, read-only or with mapped ids. It needs no overlay.
   */
  #boundBase(id: string, readOnly: boolean): MountPlan {
    const path = this.#mountPoint(id);
    const { uids: { root: uid }, gids: { root: gid } } = this.#idMapsOf(id);
    const [bind, ...remount] = bindReadOnly(this.#layout.diff(id).text, path.text);
    return {
      path: path.text,
      steps: [mountDirectory(path, uid, gid), bind, ...readOnly ? remount : []],
    };
  }

  /**
   * The step that mounts the overlay. If the kernel refuses, the error is about the damaged layer,
   * if there is one.
   */
  #mountStep(mount: OverlayMount, readOnly: boolean): MountStep {
    const explain = () => {
      this.#layout.requireDiff(mount.id);
      this.#layout.ancestors(mount.id);
      if (!readOnly) requireWork(this.#layout.work(mount.id));
    };
    return overlayStep(mount, this.#environment.api, readOnly, explain);
  }

  /**
   * Checks the targets of the `l/` links, because the kernel follows them outside the store. A
   * step, not part of planning, so that an unmount never fails on it.
   */
  #checkLinks({ id, volatile }: OverlayMount): MountStep {
    const layer = this.#layout.layer(id);
    return {
      kind: "prepare",
      name: "check the links to the layers below",
      perform: () => {
        this.#layout.requireDiff(id);
        this.#layout.ancestors(id);
        prepareVolatile(id, layer, volatile);
      },
      undo: () => clearVolatile(layer),
    };
  }

  /** Gives `work/work`, which overlay makes, to container root, like the rest of the layer. */
  #ownWork(id: string, uid: number, gid: number): MountStep {
    const path = this.#layout.work(id).join("work");
    return {
      kind: "prepare",
      name: "own the work directory",
      perform: () => {
        const result = tryLchown(path, uid, gid);
        if (result !== -ENOENT) unwrapConfined(result, "chown", path);
      },
      undo: () => {},
    };
  }

  mounts(id: string, options: GetOptions): Mount[] {
    const lowers = this.#layout.ancestors(id).length === 0 ? [] : this.#layout.lowers(id);
    if (lowers.length === 0) {
      const source = this.#layout.diff(id).text;
      this.#layout.requireDiff(id);
      return [{ type: "bind", source, options: ["rbind", options.readOnly ? "ro" : "rw"] }];
    }
    const mount = triple(this.#mount(id, lowers, options));
    checkLength(id, mount);
    return [options.readOnly ? { ...mount, options: ["ro", ...mount.options] } : mount];
  }

  #mount(id: string, lowers: readonly string[], options: GetOptions): OverlayMount {
    const { label, readOnly = false, options: own = [] } = options;
    checkKnown(new Map(own.map((name) => [name, ""])), ["volatile"], "an overlay2 mount");
    if (label) checkLabel(label);
    const directory = `${id}/diff`;
    // If the mount is read-only, the layer itself is the first lower. If there are too many lowers
    // for that, it stays the upper.
    const asLower = readOnly && lowers.length < MAX_LOWERS;
    return {
      home: this.home.path,
      id,
      target: this.#mountPoint(id).text,
      lowers: asLower ? [directory, ...lowers] : lowers,
      upper: asLower ? undefined : { directory, work: `${id}/work` },
      features: this.#environment.features,
      volatile: own.includes("volatile") && !readOnly,
      label: label || undefined,
    };
  }

  applyTarget(id: string): ApplyTarget | undefined {
    if (hasUserXattrs(this.#environment)) return undefined;
    const directory = this.#layout.diff(id).text;
    return { directory, whiteouts: "overlay", lowers: this.#lowersOf(id) };
  }

  /** The directories of the layers below, uppermost first. */
  #lowersOf(id: string): string[] {
    const layout = this.#layout;
    return layout.ancestors(id).map((ancestor) => layout.diff(ancestor).text);
  }

  nativeDiff(id: string): NativeDiff | undefined {
    if (hasUserXattrs(this.#environment) || this.#probe().unreadable !== undefined) {
      return undefined;
    }
    const layout = this.#layout;
    layout.requireDiff(id);
    return {
      kind: "upper",
      upper: layout.diff(id).text,
      lowers: this.#lowersOf(id),
      form: "overlay",
    };
  }

  #probe(): Probed {
    const { features, api } = this.#environment;
    return this.#probed ??= probe(this.home, features, api);
  }

  release(): void {}
}

/** A record's content; `""`, which no valid record has, if it is damaged. */
function readRecord(path: ConfinedPath): string | undefined {
  try {
    return readMetadata(path);
  } catch {
    return "";
  }
}

const mountDirectory = (path: ConfinedPath, uid: number, gid: number): MountStep => (
  { kind: "directory", path, mode: 0o700, uid, gid }
);
