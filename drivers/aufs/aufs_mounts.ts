/**
 * Mounts of aufs, of layers and of snapshots: as steps of a plan and as mounts for other programs,
 * with the checks before a mount and the work before an unmount.
 *
 * @module
 */
import { ENOSPC, SyscallError } from "../../ffi/errno.ts";
import { MS_RDONLY, MS_REMOUNT } from "../../ffi/mount.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import type { Remedy } from "../../lib/base/remedy.ts";
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";
import { removeMetadata, writeFile } from "../../lib/store/metadata.ts";
import type { Mount, MountStep } from "../../lib/mount/plan.ts";
import { isMountPoint } from "../../lib/mount/mountinfo.ts";
import { CONFIGURATIONS, LEAST_LIMIT } from "./branch_limit.ts";
import { hasDirperm1 } from "./dirperm1.ts";
import type { AufsEnvironment } from "./environment.ts";
import { Mending, type OwnDirectory } from "./mending.ts";
import {
  type AufsMount,
  type Branches,
  checkHome,
  mountData,
  optionLists,
  withoutDirperm1,
} from "./mount_data.ts";
import { flushPseudoLinks } from "./plink.ts";
import { ifRoom } from "./room.ts";
import { xinoPath } from "./xino.ts";

/** The remedies in messages, which differ between layers of a graph and of snapshots. */
export interface Remedies {
  /** The remedy for too many layers. */
  readonly join: Remedy;
  /** The operations that work without mounts. */
  readonly withoutMount: string;
}

/** The details of a plan beside the branches. */
export interface PlanDetails {
  /** Throws if a layer is missing; called if the mount failed. */
  readonly requireLayers: () => void;
  /** A file that exists while a mount is made by several calls. A killed process leaves it. */
  readonly mark?: ConfinedPath;
  /** The layers of the branches, in the order of the branches. */
  readonly chain: readonly OwnDirectory[];
}

/**
 * The number of retries if a mount is busy: aufs may still work on it after its last user has
 * ended.
 */
const BUSY_RETRIES = 5;

export class AufsMounts {
  readonly mending: Mending;
  #dirperm1: boolean | undefined;

  constructor(
    readonly home: Home,
    readonly environment: AufsEnvironment,
    readonly remedies: Remedies,
  ) {
    this.mending = new Mending(home, environment);
  }

  /** Whether mounts are made with `dirperm1`; `undefined` if the home has no space for the test. */
  hasDirperm1(): boolean | undefined {
    return this.environment.checkMountable() === undefined && this.#hasDirperm1();
  }

  #hasDirperm1(): boolean | undefined {
    const { port, xino } = this.environment;
    return this.#dirperm1 ??= hasDirperm1(this.home, port, xino);
  }

  /**
   * Refuses a new layer on more layers than this kernel mounts. If the kernel has aufs and does not
   * report its limit, aufs's default is assumed.
   *
   * @param own the number of the layer's own branches: 1, or 0 if only the layers below are mounted
   */
  checkNewDepth(id: string, lowers: number, own = 1): void {
    this.#checkDepth(id, lowers, own);
    const { branchLimit, checkMountable } = this.environment;
    const branches = lowers + own;
    if (branches <= LEAST_LIMIT || branchLimit(branches) !== undefined) return;
    if (checkMountable() !== undefined) return;
    throw this.#tooDeep(
      `layer ${id} would lie on ${lowers} layers, and ${
        LEAST_LIMIT - own
      } is the most that aufs mounts by default; none of ${
        CONFIGURATIONS.join(", ")
      } shows that this kernel mounts more`,
    );
  }

  /** Refuses a layer on more layers than this kernel mounts, if the kernel reports its limit. */
  #checkDepth(id: string, lowers: number, own: number): void {
    const limit = this.environment.branchLimit(lowers + own);
    if (limit === undefined || lowers + own <= limit) return;
    throw this.#tooDeep(
      `layer ${id} would lie on ${lowers} layers, and ${
        limit - own
      } is the most that aufs of this kernel mounts`,
    );
  }

  #tooDeep(message: string): VeneerError {
    return new VeneerError("limit exceeded", message, { remedy: this.remedies.join });
  }

  /**
   * The mount for another program, followed by the remounts that add branches beyond those of one
   * call. They must be made in this order, at the same path.
   *
   * @param longest see {@linkcode optionLists}
   * @throws {VeneerError} if this kernel cannot mount it
   */
  mounts(branches: Branches, longest?: number): Mount[] {
    this.#requireMountable(branches);
    return optionLists(this.#mount(branches, this.#hasDirperm1() ?? false), longest)
      .map((options) => ({ type: "aufs", source: "none", options }));
  }

  /**
   * The steps of a plan. For an existing mount they serve only to unmount it, and there are no
   * checks.
   *
   * @throws {VeneerError} if this kernel cannot mount it
   */
  steps(
    branches: Branches,
    target: string,
    { requireLayers, mark, chain }: PlanDetails,
  ): MountStep[] {
    const isMounted = isMountPoint(target);
    if (!isMounted) this.#requireMountable(branches);
    const dirperm1 = !isMounted && this.#hasDirperm1();
    const mount = this.#mount(branches, dirperm1 ?? true);
    const { data, appends } = mountData(mount);
    // If it is unknown whether aufs has the option, the mount is tried with it and then without it.
    const plain = dirperm1 === undefined ? { plainData: withoutDirperm1(data) } : {};
    const flags = mount.readOnly ? MS_RDONLY : 0;
    const aufs = { type: "aufs", target };
    return [
      this.#mendStep(chain, !mount.readOnly),
      ...(appends.length > 0 && mark !== undefined ? [markStep(mark)] : []),
      {
        ...aufs,
        kind: "mount",
        source: "none",
        flags,
        data,
        ...plain,
        explain: () => explain(mount, requireLayers),
        busyRetries: BUSY_RETRIES,
      },
      ...appends.map((data, i): MountStep => ({
        ...aufs,
        kind: "append",
        flags: MS_REMOUNT | flags,
        data,
        explain: (error) => {
          explain(mount, requireLayers);
          this.#explainDepth(error, mount, appends.length - i - 1);
        },
      })),
      this.#lastStep(branches, target, mark),
    ];
  }

  /** The first step, which is undone last: at both times the layer is not mounted. */
  #mendStep(chain: readonly OwnDirectory[], writes: boolean): MountStep {
    return {
      kind: "prepare",
      name: "mend layers",
      perform: () => this.mending.beforeMount(chain, writes),
      undo: () => {
        if (writes) this.mending.afterUnmount(chain);
      },
    };
  }

  /**
   * Explains why a branch was not appended: aufs reports too many branches as missing space
   * (`test_add` of `fs/aufs/branch.c`). If there are no more branches than every aufs takes, space
   * is really missing.
   *
   * @param after the number of branches that were not tried yet
   */
  #explainDepth(error: unknown, { id, upper, lowers }: AufsMount, after: number): void {
    const branches = lowers.length + (upper === undefined ? 0 : 1);
    const isNoSpace = error instanceof SyscallError && error.errno === ENOSPC;
    if (!isNoSpace || branches - after <= LEAST_LIMIT) return;
    throw this.#tooDeep(
      `layer ${id} lies on ${lowers.length} layers, more than aufs of this kernel mounts`,
    );
  }

  /** The last step, which is undone first: the mount is still complete then. */
  #lastStep(branches: Branches, target: string, mark: ConfinedPath | undefined): MountStep {
    return {
      kind: "prepare",
      name: "flush pseudo-links",
      perform: () => {
        if (mark !== undefined) removeMetadata(mark, false);
      },
      undo: () => this.beforeUnmount(branches, target),
    };
  }

  /** Makes the hard links permanent that exist only in the mount at `target`. */
  beforeUnmount({ id, upper }: Pick<Branches, "id" | "upper">, target: string): void {
    const { mountAt, plinkMaint, warn } = this.environment;
    const mount = mountAt(target);
    if (upper === undefined || mount?.type !== "aufs" || mount.options.includes("ro")) return;
    try {
      flushPseudoLinks(mount, upper, plinkMaint);
    } catch (error) {
      warn(
        `layer ${id}: hard links that were broken up while it was mounted stay so: ${
          messageOf(error)
        }`,
      );
    }
  }

  #mount(branches: Branches, dirperm1: boolean): AufsMount {
    return { ...branches, dirperm1, xino: xinoPath(this.environment.xino, branches.id) };
  }

  /** @throws {VeneerError} if this kernel cannot mount the layer */
  #requireMountable({ id, upper, lowers }: Branches): void {
    const problem = this.environment.checkMountable();
    if (problem !== undefined) {
      const [what] = problem.message.split("; ");
      throw new VeneerError(
        problem.code,
        `layer ${id} cannot be mounted: ${what}; ${this.remedies.withoutMount}`,
      );
    }
    checkHome(this.home.path);
    this.#checkDepth(id, lowers.length, upper === undefined ? 0 : 1);
  }
}

/**
 * Marks a mount by several calls until all of them are made or undone. If the disk has no space for
 * the mark, the mount is made without it.
 */
function markStep(mark: ConfinedPath): MountStep {
  return {
    kind: "prepare",
    name: "mark the mount as half made",
    perform: () => ifRoom(() => writeFile(mark, "")),
    undo: () => removeMetadata(mark, false),
  };
}

/** Explains a refusal by the kernel, because aufs reports only EINVAL. */
function explain({ id, xino }: AufsMount, requireLayers: () => void): void {
  requireLayers();
  if (xino !== undefined && tryLstat(xino) !== undefined) {
    throw new VeneerError(
      "in use",
      `${xino} exists, and aufs creates it for each mount; delete it if no process is mounting layer ${id}`,
    );
  }
}
