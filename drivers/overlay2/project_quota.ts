/**
 * Limits of layers by project quota: each limited layer's directory has its own project id, which
 * all files in it inherit, and the file system enforces the project's limits.
 *
 * Ids of the graph's layers are given out in ascending order above the home's own and above every
 * layer's, as Docker does it, so that both can use one store; ids of snapshots in ascending order
 * from {@linkcode FIRST_OF_SNAPSHOTS} on. An id that has files of any kind on the file system is
 * passed over, and one lock of the machine is held meanwhile: two layers never get one id, of
 * whatever stores they are. A layer keeps its id until its directory is gone; its limits are lifted
 * when its removal begins, and set anew with an id that is used again.
 *
 * ext4 does not hold processes with CAP_SYS_RESOURCE to limits, such as root's; overlay drops that
 * capability, so limits apply to writes through a mount. xfs applies them to all processes.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import {
  hasProjectIds,
  inheritsProject,
  projectId,
  type ProjectLimits,
  type ProjectUsage,
  projectUsage,
  quotaState,
  type QuotaTarget,
  setProjectId,
  setProjectLimits,
} from "../../ffi/quota.ts";
import { lstat } from "../../ffi/stat.ts";
import { EXT_MAGIC, fstatfs, XFS_MAGIC } from "../../ffi/statfs.ts";
import { type ConfinedPath, list, openDirectory, tryOpen } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";
import { lockProjects } from "../../lib/store/run_state.ts";
import { readMountInfo } from "../../lib/mount/mountinfo.ts";

const DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** The first project id of snapshots: far above those that Docker gives out, which looks at its own alone. */
export const FIRST_OF_SNAPSHOTS = 0x4000_0000;

/**
 * The reason why directories below `path` cannot have limits, with the file system or the missing
 * mount option; `undefined` if they can.
 *
 * @param device the file system's, for kernels that take quota commands only by it
 */
export function quotaLacking(path: string, device = findDevice(path)): string | undefined {
  return withFd(open(path, DIRECTORY), (fd) => {
    const { type, name } = fstatfs(fd);
    if (type !== XFS_MAGIC && type !== EXT_MAGIC) {
      return `${path} is on ${name}; project quotas need xfs mounted with pquota ` +
        "or ext4 mounted with prjquota";
    }
    if (!hasProjectIds(fd, path)) {
      return `${path} is on ${name} without project ids; \`tune2fs -O project,quota\` adds them`;
    }
    const { enforcing, obstacle } = quotaState({ fd, device, path });
    if (obstacle !== undefined) {
      return `the project quota of ${path} cannot be read: ${obstacle}`;
    }
    if (!enforcing) {
      const option = type === XFS_MAGIC ? "pquota" : "prjquota";
      return `${path} is on ${name} that is not mounted with ${option}`;
    }
    if (inheritsProject(fd, path)) {
      return `${path} passes on its own project, ${
        projectId(fd, path)
      }; \`chattr -P ${path}\` ends that`;
    }
    return undefined;
  });
}

/** The block device that the file system of a directory is on. */
function findDevice(path: string): string | undefined {
  const { devMajor, devMinor } = lstat(path);
  const device = `${devMajor}:${devMinor}`;
  return readMountInfo().find((mount) =>
    mount.device === device && mount.source.startsWith("/dev/")
  )
    ?.source;
}

/** The project quotas of a home's file system. */
export class ProjectQuotas {
  #device: string | undefined;
  /** No id of snapshots below this one was free when the last was given out. */
  #next = FIRST_OF_SNAPSHOTS;

  /** Whether the file system counted what projects use, the last time it was asked. */
  #counts: boolean | undefined;

  constructor(readonly home: Home) {}

  /** @throws {VeneerError} `not supported` with the reason and the requested option */
  require(what: string): void {
    const lacking = quotaLacking(this.home.path, findDevice(this.home.path));
    if (lacking !== undefined) throw new VeneerError("not supported", `${what}: ${lacking}`);
  }

  /**
   * Gives a new, empty directory of the graph's its own project with these limits. The caller holds
   * the store's lock.
   */
  assign(directory: ConfinedPath, limits: ProjectLimits): void {
    this.#assignFrom(this.#nextId(), directory, limits);
  }

  /** The same for a directory of a snapshot's. */
  assignToSnapshot(directory: ConfinedPath, limits: ProjectLimits): void {
    this.#next = this.#assignFrom(this.#next, directory, limits) + 1;
  }

  /**
   * Gives a new, empty directory of a snapshot's its own project without limits, if this file system
   * counts what projects use.
   */
  tryCountSnapshot(directory: ConfinedPath): void {
    if (!(this.#counts ??= quotaLacking(this.home.path) === undefined)) return;
    try {
      this.assignToSnapshot(directory, { bytes: 0, inodes: 0 });
    } catch (error) {
      // Older kernels let quotas of xfs be turned off, and a snapshot needs no project.
      if (!(error instanceof SyscallError)) throw error;
      this.#counts = false;
    }
  }

  /** Assigns the first free id from `first` on; returns it. */
  #assignFrom(first: number, directory: ConfinedPath, limits: ProjectLimits): number {
    using _lock = lockProjects(this.home.device);
    return withFd(openDirectory(directory), (fd) => {
      const target = this.#target(fd, directory);
      let id = first;
      while (projectUsage(target, id).usedInodes > 0) id++;
      setProjectLimits(target, id, limits);
      setProjectId(fd, id, directory.text);
      return id;
    });
  }

  /** Gives a new, empty directory the project of another one, if that has its own. */
  inherit(directory: ConfinedPath, from: ConfinedPath): void {
    const id = projectOf(from);
    if (id !== 0) withFd(openDirectory(directory), (fd) => setProjectId(fd, id, directory.text));
  }

  /** Lifts the limits of a directory's project. */
  release(directory: ConfinedPath): void {
    const id = projectOf(directory);
    if (id === 0 || id === projectOf(this.home.join())) return;
    withFd(openDirectory(directory), (fd) => {
      const target = this.#target(fd, directory);
      if (quotaState(target).accounting) setProjectLimits(target, id, { bytes: 0, inodes: 0 });
    });
  }

  /**
   * A directory's limits and their use; `undefined` if it does not have its own project, or quotas
   * are off.
   */
  usage(directory: ConfinedPath): ProjectUsage | undefined {
    const id = projectOf(directory);
    if (id === 0 || id === projectOf(this.home.join())) return undefined;
    return withFd(openDirectory(directory), (fd) => {
      const target = this.#target(fd, directory);
      return quotaState(target).accounting ? projectUsage(target, id) : undefined;
    });
  }

  /** One more than the largest id of the home, its layers, and those being made or deleted. */
  #nextId(): number {
    const { home } = this;
    const directories = [
      home.join(),
      ...list(home.join()).map((name) => home.join(name)),
      ...home.staged().map((name) => home.staging(name)),
    ];
    return Math.max(...directories.map(projectOf)) + 1;
  }

  #target(fd: number, { text: path }: ConfinedPath): QuotaTarget {
    return { fd, path, device: this.#device ??= findDevice(this.home.path) };
  }
}

/** The project id of a directory; 0 for none, and for other files. */
function projectOf(path: ConfinedPath): number {
  const fd = tryOpen(path, DIRECTORY);
  if (fd < 0) return 0;
  return withFd(fd, () => hasProjectIds(fd, path.text) ? projectId(fd, path.text) : 0);
}
