/**
 * Mounts snapshots in this process's mount namespace, for people: at a given directory, or at a
 * directory below the home that is created for the mount and removed with it.
 *
 * ```text
 * <home>/mounts/<layer>    the mount point of the snapshot with that layer
 * ```
 *
 * Mounts are not counted: a snapshot is mounted below the home at most once, and a writable one is
 * not mounted anywhere else meanwhile. Each mount is recorded (`mount_records.ts`). A directory
 * without a mount was left by a killed process or a reboot, and `sweep` removes it. The lock of the
 * mounts is taken before all other locks.
 *
 * @module
 */
import { EBUSY, SyscallError } from "../../ffi/errno.ts";
import { MNT_DETACH } from "../../ffi/mount.ts";
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { type ConfinedPath, list, makeDirectory, tryUnlink } from "../tree/confined.ts";
import { VeneerError } from "../base/errors.ts";
import type { Home } from "../store/home.ts";
import { usersOf } from "../base/processes.ts";
import { type MountPlan, type MountPort, performPlan, undoPlan } from "../mount/plan.ts";
import { isMountPoint, mountAt } from "../mount/mountinfo.ts";
import { withPrivateHome } from "../store/private_home.ts";
import type { RunState } from "../store/run_state.ts";
import type { Snapshotter } from "./snapshotter.ts";
import { shown } from "./keys.ts";
import { type MountRecord, MountRecords } from "./mount_records.ts";

/** The snapshots to mount, with operations for mounting that are not in the contract. */
export interface MountableSnapshots extends Pick<Snapshotter, "stat" | "walk"> {
  /** The layer of the snapshot with a name or key; `undefined` if there is none. */
  layerOf(key: string): string | undefined;

  /**
   * The plan with which this process mounts a snapshot at `target`, which must exist: the mounts of
   * `Snapshotter.mounts`, but without limits on the length of their options.
   */
  plan(key: string, target: string): MountPlan;

  /**
   * To be called before a snapshot is unmounted from a directory, unless its {@linkcode plan} is
   * undone. On aufs it saves hard links that would otherwise be lost. For other drivers it does
   * nothing.
   */
  beforeUnmount(target: string): void;

  /** See `Snapshotter`. */
  checkUnused(key: string): void;

  /** Whether the mount at a directory of this process's mount namespace is one of a snapshot. */
  isMountedAt(key: string, target: string): boolean;
}

/** The mounts of one store's snapshots. */
export class MountedSnapshots {
  readonly #records: MountRecords;

  constructor(
    readonly snapshots: MountableSnapshots,
    readonly home: Home,
    readonly state: RunState,
    readonly port: MountPort,
  ) {
    this.#records = new MountRecords(state);
  }

  /**
   * Mounts a snapshot below the home; returns the path.
   *
   * @param port by which it is mounted, such as one that maps ids
   * @throws {VeneerError} `in use` if it is already mounted there or, if it is writable, anywhere;
   * also the errors of {@linkcode MountableSnapshots.plan}
   */
  mount(key: string, port = this.port): string {
    using _lock = this.#lock();
    const path = this.#checkUnmounted(key);
    const layer = this.#checkMountable(key);
    makeDirectory(this.home.join("mounts"), 0o711);
    makeDirectory(path, 0o700);
    try {
      const plan = this.snapshots.plan(key, path.text);
      withPrivateHome(this.home, this.state, () => this.#perform(plan, layer, path.text, port));
    } catch (error) {
      removeDirectory(path);
      throw error;
    }
    return path.text;
  }

  /**
   * Mounts a snapshot at a directory; returns its path without symbolic links.
   *
   * @param port as {@linkcode mount}
   * @throws {VeneerError} `in use` if something is mounted there, `invalid argument` for a path
   * that is not a directory
   */
  mountAt(key: string, directory: string, port = this.port): string {
    using _lock = this.#lock();
    const path = realDirectory(directory);
    this.#undoUnfinished(this.snapshots.stat(key).layer);
    if (isMountPoint(path)) {
      throw new VeneerError("in use", `${path} is a mount point; unmount that or name another`);
    }
    const layer = this.#checkMountable(key);
    this.#perform(this.snapshots.plan(key, path), layer, path, port);
    return path;
  }

  #perform(plan: MountPlan, layer: string, target: string, port: MountPort): void {
    this.#records.around(layer, target, () => {
      performPlan(plan, port);
      return mountAt(target)!;
    });
  }

  /** Refuses a second writable mount of a snapshot; returns its layer. */
  #checkMountable(key: string): string {
    const { layer, kind } = this.snapshots.stat(key);
    if (kind === "active") this.snapshots.checkUnused(key);
    return layer;
  }

  /** Unmounts mounts of commands that were killed before they printed the path. */
  #undoUnfinished(layer?: string): void {
    for (const record of this.#records.unfinished(layer)) {
      const { target } = record;
      if (isMountPoint(target) && this.#isMountOf(record)) {
        this.snapshots.beforeUnmount(target);
        this.port.unmount(target, MNT_DETACH);
      }
      const own = this.#own(target);
      if (own !== undefined) removeDirectory(own);
      this.#records.forget(record);
    }
    this.#records.prune(layer);
  }

  #isMountOf({ layer, target }: MountRecord): boolean {
    const [info] = Array.from(this.snapshots.walk()).filter((info) => info.layer === layer);
    return info !== undefined && this.snapshots.isMountedAt(info.name, target);
  }

  /**
   * Undoes {@linkcode mount}; returns the path of the mount point.
   *
   * @throws {VeneerError} `failed precondition` if it is not mounted, `in use` if the mount is busy
   */
  unmount(key: string): string {
    using _lock = this.#lock();
    const path = this.#path(key);
    if (!isMountPoint(path.text)) {
      this.#undoUnfinished(this.snapshots.stat(key).layer);
      throw new VeneerError(
        "failed precondition",
        `snapshot ${
          shown(key)
        } is not mounted below ${this.home.path}; name the directory where it is mounted`,
      );
    }
    undoPlan(this.snapshots.plan(key, path.text), this.port, refuseBusy);
    removeDirectory(path);
    this.#records.end(path.text);
    return path.text;
  }

  /**
   * Unmounts the mount below the home that a killed process left, if there is one.
   *
   * @returns whether the snapshot is no longer mounted there: false if a process uses the mount,
   * which then stays
   */
  unmountAbandoned(key: string): boolean {
    using _lock = this.#lock();
    const path = this.#path(key);
    this.#undoUnfinished(path.name);
    if (!isMountPoint(path.text)) return true;
    if (usersOf(path.text).length > 0) return false;
    undoPlan(this.snapshots.plan(key, path.text), this.port, refuseBusy);
    removeDirectory(path);
    this.#records.end(path.text);
    return true;
  }

  /** Unmounts the mount at a directory; returns its path. @throws as {@linkcode unmount} */
  unmountAt(directory: string): string {
    using _lock = this.#lock();
    const path = realDirectory(directory);
    if (!isMountPoint(path)) {
      throw new VeneerError("failed precondition", `${path} is not a mount point`);
    }
    this.snapshots.beforeUnmount(path);
    try {
      this.port.unmount(path, 0);
    } catch (error) {
      if (error instanceof SyscallError && error.errno === EBUSY) refuseBusy(path);
      throw error;
    }
    const own = this.#own(path);
    if (own !== undefined) removeDirectory(own);
    this.#records.end(path);
    return path;
  }

  /**
   * Runs `use` while the snapshot is not mounted below the home and cannot be mounted there. This
   * is for operations that remove the key, because without it the snapshot could not be unmounted.
   *
   * @throws {VeneerError} `in use`; also the errors of `use`
   */
  whileUnmounted(key: string, use: () => void): void {
    using _lock = this.#lock();
    // If the snapshot does not exist, `use` reports that.
    if (this.snapshots.layerOf(key) !== undefined) this.#checkUnmounted(key);
    use();
  }

  /**
   * Removes directories without a mount, and unmounts mounts below the home whose snapshot was
   * removed. Returns a line for each unmount.
   */
  sweep(): string[] {
    using _lock = this.#lock();
    this.#undoUnfinished();
    const directory = this.home.join("mounts");
    const present = list(directory);
    if (present.length === 0) return [];
    const layers = new Set(Array.from(this.snapshots.walk(), ({ layer }) => layer));
    const done: string[] = [];
    for (const layer of present) {
      const path = this.home.join("mounts", layer);
      if (this.state.isTransferred(layer)) continue;
      this.state.forgetTransfers(layer);
      if (isMountPoint(path.text)) {
        if (layers.has(layer)) continue;
        this.snapshots.beforeUnmount(path.text);
        this.port.unmount(path.text, MNT_DETACH);
        done.push(`unmounted ${path}`);
      }
      removeDirectory(path);
    }
    return done;
  }

  #lock(): Disposable {
    return this.state.lockNamed("mounting", "the mounting of snapshots");
  }

  #checkUnmounted(key: string): ConfinedPath {
    const path = this.#path(key);
    this.#undoUnfinished(path.name);
    if (!isMountPoint(path.text)) return path;
    throw new VeneerError(
      "in use",
      `snapshot ${shown(key)} is mounted at ${path}`,
      { remedy: { kind: "umount snapshot", key } },
    );
  }

  #path(key: string): ConfinedPath {
    return this.home.join("mounts", this.snapshots.stat(key).layer);
  }

  /** The mount point below the home with an absolute path; `undefined` for other paths. */
  #own(path: string): ConfinedPath | undefined {
    const directory = this.home.join("mounts");
    return path.startsWith(`${directory}/`)
      ? directory.join(path.slice(`${directory}/`.length))
      : undefined;
  }
}

/** Refuses to unmount a busy mount: a commit afterwards relies on no process writing to it. */
function refuseBusy(path: string): never {
  const users = usersOf(path).filter((user) => !user.endsWith(`(pid ${Deno.pid})`));
  const who = users.length > 0 ? ` by ${users.join(", ")}` : "";
  throw new VeneerError("in use", `${path} is being used${who}; end that and unmount again`);
}

function realDirectory(path: string): string {
  try {
    if (Deno.statSync(path).isDirectory) return Deno.realPathSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  throw new VeneerError("invalid argument", `${path}: name a directory that exists`);
}

/** Removes a mount point. That also ends copies of the mount in namespaces that inherited it. */
function removeDirectory(path: ConfinedPath): void {
  tryUnlink(path, AT_REMOVEDIR);
}
