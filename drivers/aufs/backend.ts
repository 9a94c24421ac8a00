/**
 * The aufs backend: layers in Docker's layout, mounted by aufs.
 *
 * A layer is made in the home's staging directory and its parts are renamed into place, the record last; it is
 * removed by renaming the record away first. As long as something is staged under its id, a layer without a
 * record is half made or half removed, and {@linkcode Aufs.dispose} deletes what there is of it.
 *
 * @module
 */
import { readNames } from "../../ffi/directory.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { MS_RDONLY, MS_REMOUNT } from "../../ffi/mount.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { mkdirat, RENAME_EXCHANGE, RENAME_NOREPLACE, renameat } from "../../ffi/tree.ts";
import { messageOf, VeneerError } from "../../lib/errors.ts";
import type {
  GetOptions,
  LayerBackend,
  LayerSpec,
  NativeDiff,
  StatusLine,
} from "../../lib/graph_driver.ts";
import type { Home } from "../../lib/home.ts";
import type { IdMaps } from "../../lib/id_maps.ts";
import { makeLayerRoot, makeOwned } from "../../lib/layer_root.ts";
import { removeMetadata, syncDirectory, writeFile } from "../../lib/metadata.ts";
import { checkLabel } from "../../lib/mount_label.ts";
import {
  bindReadOnly,
  type Mount,
  type MountPlan,
  type MountPort,
  type MountStep,
} from "../../lib/mount_plan.ts";
import { isMountPoint, type MountInfo } from "../../lib/mountinfo.ts";
import { checkKnown } from "../../lib/options.ts";
import { disposeProbe, isProbe } from "../../lib/probe_directory.ts";
import { removeTree } from "../../lib/remove_tree.ts";
import { OPAQUE_MARKER, WHITEOUT_META_PREFIX, type WhiteoutForm } from "../../lib/whiteouts.ts";
import { hasDirperm1 } from "./dirperm1.ts";
import { Layout, REMOVING } from "./layout.ts";
import { type AufsMount, checkHome, mountData, tripleOptions } from "./mount_data.ts";
import { flushPseudoLinks } from "./plink.ts";
import { WITHOUT_MOUNT } from "./support.ts";
import { xinoPath } from "./xino.ts";

/** What the driver works with. */
export interface AufsEnvironment {
  /** The name of the file system below the home. */
  readonly backing: string;
  /** What keeps layers from being mounted, if anything does. */
  readonly checkMountable: () => VeneerError | undefined;
  /** What probes are mounted through. */
  readonly port: MountPort;
  /** What is mounted on a path. */
  readonly mountAt: (path: string) => MountInfo | undefined;
  /** Where tables of inode numbers go, if this machine has the place. */
  readonly shm: string | undefined;
  /** Where the maintenance of pseudo-links is asked for. */
  readonly plinkMaint: string;
  /** How many branches a mount may have, where that is known. */
  readonly branchLimit: number | undefined;
  /** Told, in one line, what did not go as it should and was survived. */
  readonly warn: (message: string) => void;
}

/** aufs has work of its own to end after the last user went: a busy mount is asked for again. */
const BUSY_RETRIES = 5;

export class Aufs implements LayerBackend {
  readonly name = "aufs";
  readonly #layout: Layout;
  readonly #environment: AufsEnvironment;
  #dirperm1: boolean | undefined;

  /** Opens a home; what others left half deleted in it is staged for the sweep. */
  constructor(readonly home: Home, readonly idMaps: IdMaps, environment: AufsEnvironment) {
    this.#layout = new Layout(home);
    this.#environment = environment;
    this.#layout.make(idMaps);
    this.#layout.stageLeftovers();
  }

  status(): StatusLine[] {
    const { backing, checkMountable } = this.#environment;
    return [
      ["Root Dir", this.home.path],
      ["Backing Filesystem", backing],
      ["Dirs", String(this.#layout.count())],
      ["Dirperm1 Supported", String(checkMountable() === undefined && this.#hasDirperm1())],
    ];
  }

  metadata(id: string): ReadonlyMap<string, string> {
    const layout = this.#layout;
    const lowers = layout.ancestors(id).map((ancestor) => layout.diff(ancestor));
    return new Map([
      ...(lowers.length > 0 ? [["LowerDir", lowers.join(":")] as const] : []),
      ["MergedDir", layout.mountPoint(id)],
      ["UpperDir", layout.diff(id)],
    ]);
  }

  checkId(id: string): void {
    if (!id.endsWith(REMOVING)) return;
    throw new VeneerError(
      "invalid argument",
      `layer id ${id}: aufs gives names that end in ${REMOVING} to what is being deleted; choose another id`,
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
    if (mountLabel !== undefined) checkLabel(mountLabel);
    const layout = this.#layout;
    const chain = parent === undefined ? [] : this.#chainOfChild(parent);
    this.#checkDepth(id, chain.length);
    layout.requireFree(id);

    const staged = this.home.staging(id);
    mkdirat(AT_FDCWD, staged, 0o700);
    makeLayerRoot(`${staged}/diff`, parent && layout.diff(parent), this.idMaps);
    this.#makeMountPoint(`${staged}/mnt`);
    writeFile(`${staged}/record`, chain.map((ancestor) => `${ancestor}\n`).join(""), 0o644, true);
    renameat(AT_FDCWD, `${staged}/diff`, AT_FDCWD, layout.diff(id), RENAME_NOREPLACE);
    renameat(AT_FDCWD, `${staged}/mnt`, AT_FDCWD, layout.mountPoint(id));
    syncDirectory(this.home.join("diff"));
    renameat(AT_FDCWD, `${staged}/record`, AT_FDCWD, layout.record(id), RENAME_NOREPLACE);
    syncDirectory(this.home.join("layers"));
    removeTree(staged);
  }

  #chainOfChild(parent: string): string[] {
    this.#layout.requireRecord(parent);
    return [parent, ...this.#layout.ancestors(parent)];
  }

  /** Refuses a layer on more layers than this kernel mounts: its own directory is a branch, too. */
  #checkDepth(id: string, lowers: number): void {
    const { branchLimit } = this.#environment;
    if (branchLimit === undefined || lowers < branchLimit) return;
    throw new VeneerError(
      "limit exceeded",
      `layer ${id} would lie on ${lowers} layers, and ${
        branchLimit - 1
      } is the most that aufs of this kernel ` +
        'mounts; join layers: export one whole with `veneer diff ID --parent ""` and apply that to a base layer',
    );
  }

  retire(id: string): void {
    const staged = this.home.staging(id), record = this.#layout.record(id);
    mkdirat(AT_FDCWD, staged, 0o700);
    // Without a record the layer went out of sight with that.
    if (this.#layout.isRecorded(id)) renameat(AT_FDCWD, record, AT_FDCWD, `${staged}/record`);
  }

  dispose(id: string): void {
    if (isProbe(id)) return disposeProbe(this.home, id);
    const isLayer = !id.startsWith(".");
    if (isLayer && this.home.isStaged(id) && !this.#layout.isRecorded(id)) {
      this.#layout.removeTrees(id);
    }
    removeTree(this.home.staging(id));
  }

  reset(id: string): void {
    const layout = this.#layout;
    // What is staged without a record is taken for what is left of a layer.
    layout.requireRecord(id);
    const staged = this.home.staging(id), parent = this.parent(id);
    mkdirat(AT_FDCWD, staged, 0o700);
    makeLayerRoot(`${staged}/diff`, parent ? layout.diff(parent) : undefined, this.idMaps);
    renameat(AT_FDCWD, `${staged}/diff`, AT_FDCWD, layout.diff(id), RENAME_EXCHANGE);
    removeTree(staged);
  }

  isPristine(id: string): boolean {
    const names = withFd(open(this.#layout.diff(id), O_RDONLY | O_DIRECTORY), readNames);
    // A mount leaves names of aufs's own.
    return names.every((name) => name.startsWith(WHITEOUT_META_PREFIX) && name !== OPAQUE_MARKER);
  }

  mountPoint(id: string): string {
    return this.#layout.mountPoint(id);
  }

  plan(id: string, options: GetOptions): MountPlan {
    const lowers = this.#layout.chain(id) ?? [];
    const path = this.#layout.mountPoint(id);
    if (lowers.length === 0) {
      this.#layout.requireDiff(id);
      const root = this.#layout.diff(id);
      return options.readOnly
        ? { path, steps: [this.#haveMountPoint(path), ...bindReadOnly(root, path)] }
        : { path: root, steps: [] };
    }
    // For a mount that is there, a plan only says how to take it down.
    const isMounted = isMountPoint(path);
    if (!isMounted) this.#requireMountable(id, lowers.length);
    const mount = this.#mount(id, lowers, options, !isMounted && this.#hasDirperm1());
    const { data, appends } = mountData(mount);
    const flags = mount.readOnly ? MS_RDONLY : 0;
    const aufs = { type: "aufs", target: path };
    const steps: MountStep[] = [
      this.#haveMountPoint(path),
      ...(appends.length > 0 ? [this.#markStep(id)] : []),
      {
        ...aufs,
        kind: "mount",
        source: "none",
        flags,
        data,
        explain: () => this.#explain(mount),
        busyRetries: BUSY_RETRIES,
      },
      ...appends.map((data): MountStep => ({
        ...aufs,
        kind: "append",
        flags: MS_REMOUNT | flags,
        data,
      })),
      this.#lastStep(id),
    ];
    return { path, steps };
  }

  /** The place to mount on is part of the layout and stays; where somebody removed it, it is made anew. */
  #haveMountPoint(path: string): MountStep {
    return {
      kind: "prepare",
      name: "have a place to mount on",
      perform: () => {
        if (tryLstat(path) === undefined) this.#makeMountPoint(path);
      },
      undo: () => {},
    };
  }

  #makeMountPoint(path: string): void {
    const { uids, gids } = this.idMaps;
    makeOwned(path, 0o755, uids.root, gids.root);
  }

  /** Before a mount of several calls; the mark goes when they are done, or undone. */
  #markStep(id: string): MountStep {
    const mark = this.#layout.mounting(id);
    return {
      kind: "prepare",
      name: "mark the mount as half made",
      perform: () => writeFile(mark, ""),
      undo: () => removeMetadata(mark, false),
    };
  }

  /** The last step, and so the first one undone: the mount is whole then, and unmounted next. */
  #lastStep(id: string): MountStep {
    return {
      kind: "prepare",
      name: "flush pseudo-links",
      perform: () => removeMetadata(this.#layout.mounting(id), false),
      undo: () => this.settle(id),
    };
  }

  isHalfMounted(id: string): boolean {
    return tryLstat(this.#layout.mounting(id)) !== undefined;
  }

  /** Makes hard links last that only the mount knows of. */
  settle(id: string): void {
    const mount = this.#environment.mountAt(this.#layout.mountPoint(id));
    if (mount?.type !== "aufs" || mount.options.includes("ro")) return;
    try {
      flushPseudoLinks(mount, this.#layout.diff(id), this.#environment.plinkMaint);
    } catch (error) {
      this.#environment.warn(
        `layer ${id}: hard links that were broken up while it was mounted stay so: ${
          messageOf(error)
        }`,
      );
    }
  }

  /** Where the kernel refused: aufs says no more than that something is invalid. */
  #explain({ id, xino }: AufsMount): void {
    this.#layout.requireDiff(id);
    this.#layout.ancestors(id);
    if (xino !== undefined && tryLstat(xino) !== undefined) {
      throw new VeneerError(
        "in use",
        `${xino} exists, and aufs makes it anew for each mount; delete it if nobody is mounting layer ${id}`,
      );
    }
  }

  mounts(id: string, options: GetOptions): Mount[] {
    const lowers = this.#layout.ancestors(id);
    if (lowers.length === 0) {
      this.#layout.requireDiff(id);
      const source = this.#layout.diff(id);
      return [{ type: "bind", source, options: ["rbind", options.readOnly ? "ro" : "rw"] }];
    }
    this.#requireMountable(id, lowers.length);
    const mount = this.#mount(id, lowers, options, this.#hasDirperm1());
    return [{ type: "aufs", source: "none", options: tripleOptions(mount) }];
  }

  #mount(
    id: string,
    lowers: readonly string[],
    { label, readOnly = false, options = [] }: GetOptions,
    dirperm1: boolean,
  ): AufsMount {
    checkKnown(new Map(options.map((name) => [name, ""])), [], "an aufs mount");
    if (label) checkLabel(label);
    const xino = xinoPath(this.#environment.shm, id);
    return {
      home: this.home.path,
      id,
      lowers,
      readOnly,
      dirperm1,
      xino,
      label: label || undefined,
    };
  }

  /** @throws {VeneerError} where this kernel cannot mount the layer */
  #requireMountable(id: string, lowers: number): void {
    const problem = this.#environment.checkMountable();
    if (problem !== undefined) {
      const [what] = problem.message.split("; ");
      throw new VeneerError(
        problem.code,
        `layer ${id} cannot be mounted: ${what}; ${WITHOUT_MOUNT}`,
      );
    }
    checkHome(this.home.path);
    this.#checkDepth(id, lowers);
  }

  #hasDirperm1(): boolean {
    const { port, shm } = this.#environment;
    return this.#dirperm1 ??= hasDirperm1(this.home, port, shm);
  }

  applyTarget(id: string): { directory: string; whiteouts: WhiteoutForm } {
    return { directory: this.#layout.diff(id), whiteouts: "aufs" };
  }

  nativeDiff(id: string): NativeDiff {
    const layout = this.#layout;
    layout.requireDiff(id);
    const lowers = layout.ancestors(id).map((ancestor) => layout.diff(ancestor));
    return { kind: "upper", upper: layout.diff(id), lowers, form: "aufs" };
  }

  close(): void {}
}

const noStorageOption = (option: string) =>
  new VeneerError(
    "invalid argument",
    `storage option ${option}: layers of aufs have none, and no limits; leave it out or use another driver`,
  );
