/**
 * How aufs layers are mounted: the plans, what others are told, and what is done before a mount is taken down.
 *
 * A mount of more layers than one call takes is made by several. A mark stands in the home meanwhile, so that
 * what a killed process left with some of its layers is not taken for the whole.
 *
 * @module
 */
import { MS_RDONLY, MS_REMOUNT } from "../../ffi/mount.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { messageOf, VeneerError } from "../../lib/errors.ts";
import type { GetOptions } from "../../lib/graph_driver.ts";
import type { Home } from "../../lib/home.ts";
import type { IdMaps } from "../../lib/id_maps.ts";
import { makeOwned } from "../../lib/layer_root.ts";
import { removeMetadata, writeFile } from "../../lib/metadata.ts";
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
import { hasDirperm1 } from "./dirperm1.ts";
import type { Layout } from "./layout.ts";
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
  /** How many branches a mount may have, where that is known: not before the module is loaded. */
  readonly branchLimit: () => number | undefined;
  /** Told, in one line, what did not go as it should and was survived. */
  readonly warn: (message: string) => void;
}

/** aufs has work of its own to end after the last user went: a busy mount is asked for again. */
const BUSY_RETRIES = 5;

/** Makes the place where a layer is mounted, as Docker does. */
export function makeMountPoint(path: string, { uids, gids }: IdMaps): void {
  makeOwned(path, 0o755, uids.root, gids.root);
}

export class Mounting {
  readonly #layout: Layout;
  readonly #environment: AufsEnvironment;
  #dirperm1: boolean | undefined;

  constructor(layout: Layout, readonly idMaps: IdMaps, environment: AufsEnvironment) {
    this.#layout = layout;
    this.#environment = environment;
  }

  get #home(): Home {
    return this.#layout.home;
  }

  /** Whether mounts are made with `dirperm1`. */
  mountsWithDirperm1(): boolean {
    return this.#environment.checkMountable() === undefined && this.#hasDirperm1();
  }

  /** Refuses a layer on more layers than this kernel mounts: its own directory is a branch, too. */
  checkDepth(id: string, lowers: number): void {
    const limit = this.#environment.branchLimit();
    if (limit === undefined || lowers < limit) return;
    throw new VeneerError(
      "limit exceeded",
      `layer ${id} would lie on ${lowers} layers, and ${
        limit - 1
      } is the most that aufs of this kernel ` +
        'mounts; join layers: export one whole with `veneer diff ID --parent ""` and apply that to a base layer',
    );
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
        if (tryLstat(path) === undefined) makeMountPoint(path, this.idMaps);
      },
      undo: () => {},
    };
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
      home: this.#home.path,
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
    checkHome(this.#home.path);
    this.checkDepth(id, lowers);
  }

  #hasDirperm1(): boolean {
    const { port, shm } = this.#environment;
    return this.#dirperm1 ??= hasDirperm1(this.#home, port, shm);
  }
}
