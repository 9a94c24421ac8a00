/**
 * Limits of layers by project quota. The directory of each limited layer has its own project id,
 * which all files in it inherit, and the file system enforces the project's limits.
 *
 * A layer of the graph gets a higher id than the home and all its layers, like with Docker, so that
 * both can use one store. A snapshot gets an id from {@linkcode FIRST_OF_SNAPSHOTS} on. An id is
 * skipped if any files on the file system have it, and a lock of the whole machine is held
 * meanwhile, so that two layers never get the same id, even in different stores. A layer keeps its
 * id until its directory is deleted. Its limits are lifted when its removal begins, and set again
 * when an id is used again.
 *
 * ext4 does not apply limits to processes with CAP_SYS_RESOURCE, such as root's. Overlay drops that
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
import { lockProjects } from "../../lib/store/run_root.ts";
import { readMountInfo } from "../../lib/mount/mountinfo.ts";

const DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/**
 * The first project id of snapshots. It is far above Docker's ids, because Docker only checks for
 * its own.
 */
export const FIRST_OF_SNAPSHOTS = 0x4000_0000;

/**
 * The reason why directories below `path` cannot have limits; `undefined` if they can.
 *
 * @param device the file system's device, for kernels whose quota commands need it
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

/** The block device of a directory's file system. */
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
  /** The id after that of the last snapshot: all lower ids of snapshots were in use then. */
  #next = FIRST_OF_SNAPSHOTS;

  /** Whether the file system counted the space of projects at the last check. */
  #counts: boolean | undefined;

  constructor(readonly home: Home) {}

  /** @throws {VeneerError} `not supported` with the reason and the requested option */
  require(what: string): void {
    const lacking = quotaLacking(this.home.path, findDevice(this.home.path));
    if (lacking !== undefined) throw new VeneerError("not supported", `${what}: ${lacking}`);
  }

  /**
   * Gives a new, empty directory of a graph's layer its own project with these limits. The caller
   * holds the store's lock.
   */
  assign(directory: ConfinedPath, limits: ProjectLimits): void {
    this.#assignFrom(this.#nextId(), directory, limits);
  }

  /** The same for the directory of a snapshot's layer. */
  assignToSnapshot(directory: ConfinedPath, limits: ProjectLimits): void {
    this.#next = this.#assignFrom(this.#next, directory, limits) + 1;
  }

  /**
   * Gives a new, empty directory of a snapshot's layer its own project without limits, if this file
   * system counts the space of projects.
   */
  tryCountSnapshot(directory: ConfinedPath): void {
    if (!(this.#counts ??= quotaLacking(this.home.path) === undefined)) return;
    try {
      this.assignToSnapshot(directory, { bytes: 0, inodes: 0 });
    } catch (error) {
      // A snapshot does not need a project, and on older kernels the quotas of xfs may have been
      // turned off.
      if (!(error instanceof SyscallError)) throw error;
      this.#counts = false;
    }
  }

  /** Assigns the first free id from `first` on. Returns the id. */
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

  /** Gives a new, empty directory the project of another directory, if that has one. */
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
   * A directory's limits and the space it uses; `undefined` if it does not have its own project, or
   * if quotas are off.
   */
  usage(directory: ConfinedPath): ProjectUsage | undefined {
    const id = projectOf(directory);
    if (id === 0 || id === projectOf(this.home.join())) return undefined;
    return withFd(openDirectory(directory), (fd) => {
      const target = this.#target(fd, directory);
      return quotaState(target).accounting ? projectUsage(target, id) : undefined;
    });
  }

  /**
   * One more than the largest id of the home and its layers, including those that are being made or
   * deleted.
   */
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

/** The project id of a directory; 0 if it has none, and for other files. */
function projectOf(path: ConfinedPath): number {
  const fd = tryOpen(path, DIRECTORY);
  if (fd < 0) return 0;
  return withFd(fd, () => hasProjectIds(fd, path.text) ? projectId(fd, path.text) : 0);
}
