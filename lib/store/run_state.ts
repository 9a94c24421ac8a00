/**
 * State that must not outlive a boot: locks and reference counts, under
 * `/run/veneer/<device>-<inode of the home>/`, so that two paths to one store share them.
 *
 * ```text
 * birth          of the counted home, the mount namespace it was first seen in, and its path
 *                there; another home with the same inode starts with new counts
 * store          locked exclusively to change which layers there are
 * devices        a driver's own lock, such as of devices while they are changed or activated
 * migrate        locked exclusively by a migration to this store
 * images         locked exclusively while images are imported, made or removed; before all others
 * children       locked exclusively while the index of children is written
 * layers/<id>    locked exclusively by every operation on the layer; holds the layer's record
 *                (`mount_record.ts`): the number of users, and the mount; also the locks of
 *                temporary snapshots (`lib/images/temporary.ts`)
 * use/<id>       locked shared while the layer's content is read, exclusively while a tar is
 *                applied to it; an unlocked one is left from a killed transfer
 * home           locked shared while a layer is being mounted, exclusively while the home is unmounted
 * mounts/<id>    mount points of layers that are not mounted in the home: of a read-only one without
 *                directories for them, and beside a daemon of Docker's (`mount_places.ts`)
 * home-mounts/<namespace>  for a mount namespace with Veneer's private mount of the home: the
 *                mount's id; empty before the mount is made
 * ```
 *
 * Beside them, `projects/<device>` is locked exclusively while a project id of that file system is
 * chosen, the last lock of all.
 *
 * Rules:
 * - All locks are `flock(2)`: the kernel frees them when their holder dies.
 * - Order: a layer's lock, then the home's, then the store's, then a driver's own. Never two
 *   layers' locks at once, but for tries that do not wait. The lock of `children` is only ever
 *   tried.
 * - A `use` lock is only tried, and a failure reports the holder, since a transfer may take as long
 *   as its client likes. It is tried for a moment, because others may take it briefly to see
 *   whether it is held.
 * - Lock files of layers are removed by their holder when there is nothing to remember; a waiter
 *   that gets the lock of a removed file opens the name again.
 * - A count is written before the mount is made and after it is gone: a process killed between
 *   leaves a count without a mount, which is recognised as stale.
 * - A mount made by transfers has a record with a count of 0. It lasts as long as the `use` lock is
 *   held, which ends with the process, so that it never counts as a user's mount.
 *
 * @module
 */
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  open as openTrusted,
  pread,
  pwriteAll,
  withFd,
} from "../../ffi/files.ts";
import { type LockMode, tryLock } from "../../ffi/flock.ts";
import { readlink, tryMkdir } from "../../ffi/paths.ts";
import { EEXIST, ENOENT } from "../../ffi/errno.ts";
import { fstat, Stat, tryLstat as lstatTrusted, tryLstatMount } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import {
  type ConfinedPath,
  ConfinedRoot,
  isDirectory,
  list,
  makeDirectory,
  open,
  removeTree,
  tryLstat,
  tryOpen,
  tryUnlink,
  unlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import type { Home } from "./home.ts";
import { holdersOf, isNamespaceAlive } from "../base/processes.ts";
import { readMetadata, removeMetadata, writeFile, writeMetadata } from "./metadata.ts";
import {
  decodeReferences,
  encodeReferences,
  RECORD_LENGTH,
  type References,
  UNUSED,
} from "./mount_record.ts";
import { sleep } from "../base/sleep.ts";
import type { Warn } from "../base/warn.ts";
import { requireTrustedOwner } from "./trusted_owner.ts";

export { type References, UNUSED };

/** The directory of the state of all homes. */
export const RUN_ROOT = "/run/veneer";

/** How long an operation waits for another one's lock before it gives up, in milliseconds. */
const PATIENCE = 120_000;

/** How long a `use` lock is tried for, in milliseconds. */
const MOMENT = 100;

/**
 * The directory of mount points for layers that are not mounted in their home. It exists when this
 * returns.
 */
export function mountsBeside(home: Home): ConfinedPath {
  using run = new RunRoot();
  waitForLock(run.fd, "shared", RUN_ROOT);
  const state = run.root.join(stateName(home.device, home.inode));
  makeDirectory(state, 0o700);
  const mounts = state.join("mounts");
  makeDirectory(mounts, 0o700);
  return mounts;
}

/** The directory of records that a service keeps until the next boot. */
export function serviceRecords(): ConfinedPath {
  using run = new RunRoot();
  const records = run.root.join("services");
  makeDirectory(records, 0o700);
  return records;
}

/**
 * Holds the giving out of a file system's project ids, until disposed of: all stores on it choose
 * from the same ids.
 *
 * @param device of the file system, as `major:minor`
 */
export function lockProjects(device: string): Disposable {
  using run = new RunRoot();
  const locks = run.root.join("projects");
  makeDirectory(locks, 0o700);
  const file = locks.join(device.replace(":", "."));
  const fd = open(file, O_RDWR | O_CREAT, 0o600);
  try {
    waitForLock(fd, "exclusive", file.text);
  } catch (error) {
    close(fd);
    throw error;
  }
  return { [Symbol.dispose]: () => close(fd) };
}

/** The states of open homes: a driver and what is built on it share one. */
const states = new WeakMap<Home, RunState>();

/** The run-time state of one home. */
export class RunState {
  readonly #directory: ConfinedPath;

  /** The state of a home, opened once. @throws as the constructor does */
  static of(home: Home): RunState {
    let state = states.get(home);
    if (state === undefined) states.set(home, state = new RunState(home));
    return state;
  }

  /** @throws {VeneerError} `incompatible` if others could write to `/run/veneer` */
  constructor(home: Home) {
    using run = new RunRoot();
    this.#directory = run.root.join(stateName(home.device, home.inode));
    // Until the recorded birth is this home's, a process that removes states of old homes may take
    // it for an earlier home's.
    waitForLock(run.fd, "shared", RUN_ROOT);
    this.hold(() => {
      makeDirectory(this.#directory, 0o700);
      for (const name of ["layers", "use"]) makeDirectory(this.#directory.join(name), 0o700);
      this.#checkBirth(home);
    });
  }

  /** Removes counts of an earlier home with the same inode. */
  #checkBirth(home: Home): void {
    const path = this.#directory.join("birth");
    const birth = String(tryLstatMount(home.path)?.birth ?? 0n);
    const isKnown = () => readMetadata(path)?.split(" ")[0] === birth;
    if (isKnown()) return;
    using _lock = this.lockStore();
    if (isKnown()) return;
    for (const id of list(this.#directory.join("layers"))) {
      tryUnlink(this.#directory.join("layers", id));
    }
    removeTree(this.path("snapshot-mounts"));
    removeTree(this.path("home-mounts"));
    // A lock of snapshots was named so; a directory of mount points stays.
    tryUnlink(this.path("mounts"));
    writeFile(path, `${birth} ${mountNamespace()} ${home.path}`);
  }

  /** Locks the store's shape: which layers there are. */
  lockStore(): Disposable {
    return this.#lock("store", (fd) => waitForLock(fd, "exclusive", "the store"))!;
  }

  /** Keeps the home's mount, made or not yet, from being taken down; many can at once. */
  holdHome(): Disposable {
    return this.#lock("home", (fd) => waitForLock(fd, "shared", "the store's home"))!;
  }

  /** Keeps layers from being mounted, unless one is being mounted now. */
  tryLockHome(): Disposable | undefined {
    return this.#lock("home", (fd) => tryLock(fd, "exclusive"));
  }

  /**
   * Locks something of a driver's own, such as its devices; taken last of all locks.
   *
   * @param what the name of the lock, for messages
   */
  lockNamed(name: string, what: string): Disposable {
    return this.#lock(name, (fd) => waitForLock(fd, "exclusive", what))!;
  }

  /** The same, if no one has it. */
  tryLockNamed(name: string): Disposable | undefined {
    return this.#lock(name, (fd) => tryLock(fd, "exclusive"));
  }

  /** Locks a file of the whole store's, which is never removed. */
  #lock(name: string, take: (fd: number) => boolean): Disposable | undefined {
    const fd = open(this.#directory.join(name), O_RDWR | O_CREAT, 0o600);
    let taken = false;
    try {
      taken = take(fd);
    } finally {
      if (!taken) close(fd);
    }
    return taken ? { [Symbol.dispose]: () => close(fd) } : undefined;
  }

  /**
   * Runs `use`, which takes several locks, and opens the directory of all state only once for them.
   */
  hold<T>(use: () => T): T {
    return this.#directory.root.hold(use);
  }

  /** Locks a layer, waiting for its present holder. */
  lockLayer(id: string): LayerLock {
    return this.hold(() => this.#lockLayer(id));
  }

  #lockLayer(id: string): LayerLock {
    const path = this.#directory.join("layers", id);
    for (;;) {
      const lock = LayerLock.open(path);
      try {
        waitForLock(lock.fd, "exclusive", `layer ${id}`);
        if (lock.isCurrent()) return lock;
      } catch (error) {
        close(lock.fd);
        throw error;
      }
      close(lock.fd);
    }
  }

  /** Locks a layer unless another process works on it. */
  tryLockLayer(id: string): LayerLock | undefined {
    const lock = LayerLock.open(this.#directory.join("layers", id));
    if (tryLock(lock.fd, "exclusive", lock.path.text) && lock.isCurrent()) return lock;
    close(lock.fd);
    return undefined;
  }

  /** Removes lock files of layers that killed processes left, unless they contain a mount count. */
  forgetLocks(): void {
    for (const id of list(this.#directory.join("layers"))) {
      this.tryLockLayer(id)?.[Symbol.dispose]();
    }
  }

  /**
   * Marks that a layer's content is being read (shared) or replaced, until disposed of.
   *
   * @throws {VeneerError} `in use`, at once, if another transfer excludes this
   */
  use(id: string, mode: LockMode): Use {
    const path = this.#directory.join("use", id);
    const deadline = performance.now() + MOMENT;
    for (;;) {
      const fd = open(path, O_RDWR | O_CREAT, 0o600);
      if (tryLock(fd, mode, path.text)) {
        if (isCurrent(fd, path)) return new Use(fd, path);
      } else if (performance.now() > deadline) {
        const holders = holdersOf(fd);
        close(fd);
        throw new VeneerError("in use", `layer ${id} is being transferred${by(holders)}`);
      } else sleep(1);
      close(fd);
    }
  }

  /** The ids of layers that are being transferred, or were when a process was killed. */
  transferred(): string[] {
    return list(this.#directory.join("use"));
  }

  /**
   * Removes the marks of killed transfers, unless others have begun since. The caller holds the
   * layer's lock.
   */
  forgetTransfers(id: string): void {
    const path = this.#directory.join("use", id);
    const fd = tryOpen(path, O_RDWR);
    if (fd !== -ENOENT) new Use(unwrapConfined(fd, "open", path), path)[Symbol.dispose]();
  }

  /**
   * Whether the layer is being transferred. If the caller holds its lock, no transfer can begin
   * meanwhile.
   */
  isTransferred(id: string): boolean {
    const path = this.#directory.join("use", id);
    const fd = tryOpen(path, O_RDWR);
    if (fd === -ENOENT) return false;
    return !withFd(unwrapConfined(fd, "open", path), (fd) => tryLock(fd, "exclusive", path.text));
  }

  /** A file or directory of a driver's or module's own in this state. */
  path(name: string): ConfinedPath {
    return this.#directory.join(name);
  }

  /** How often each layer is in use, for listings: without locks, so it may be a moment old. */
  references(id: string): References {
    const text = readMetadata(this.#directory.join("layers", id));
    return text ? decodeReferences(text) : UNUSED;
  }

  /**
   * The id of the mount of the home on itself that Veneer made in this mount namespace; `""` if a
   * process was killed before it knew, `undefined` if Veneer made none. To be recorded before it is
   * made, and again after.
   */
  get homeMount(): string | undefined {
    return readMetadata(this.#homeMounts().join(mountNamespace()));
  }

  set homeMount(id: string | undefined) {
    const directory = this.#homeMounts(), path = directory.join(mountNamespace());
    if (id === undefined) removeMetadata(path, false);
    else {
      makeDirectory(directory, 0o700);
      writeMetadata(path, id);
    }
  }

  /** Forgets the mounts of the home in namespaces that are gone. */
  forgetLostHomeMounts(): void {
    const directory = this.#homeMounts();
    for (const namespace of list(directory).filter((name) => /^\d+$/.test(name))) {
      if (!isNamespaceAlive(namespace)) tryUnlink(directory.join(namespace));
    }
  }

  #homeMounts(): ConfinedPath {
    return this.#directory.join("home-mounts");
  }
}

/**
 * The form of a home's {@linkcode stateName}. Other names there are not states, such as a socket.
 */
const STATE_NAME = /^\d+\.\d+-\d+$/;

/**
 * Removes the run-time state of homes that are gone. No mount can exist of such a home, so its
 * state is useless. Only homes of this mount namespace are checked: those of another, such as a
 * container's that shares `/run`, are not visible here. Does nothing if another process is doing
 * it.
 *
 * @param warn gets a line about each state that cannot be read or removed; the others are still
 * removed
 */
export function pruneRunStates(warn: Warn): void {
  using run = new RunRoot();
  if (!tryLock(run.fd, "exclusive", RUN_ROOT)) return;
  for (const name of list(run.root.join()).filter((name) => STATE_NAME.test(name))) {
    const state = run.root.join(name);
    try {
      if (isDirectory(state) && isOfGoneHome(state)) removeTree(state);
    } catch (error) {
      warn(`${state} is not removed: ${messageOf(error)}`);
    }
  }
}

/** The directory of all state, open; it is made if it is missing. */
class RunRoot implements Disposable {
  readonly fd: number;
  readonly root: ConfinedRoot;

  /** @throws {VeneerError} `incompatible` if it is not a directory of root's alone */
  constructor() {
    const made = tryMkdir(RUN_ROOT, 0o711);
    if (made !== -EEXIST) unwrap(made, "mkdir", RUN_ROOT);
    this.fd = openTrusted(RUN_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      requireTrustedOwner(this.fd, RUN_ROOT);
      this.root = ConfinedRoot.of(RUN_ROOT, this.fd);
    } catch (error) {
      close(this.fd);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}

function isOfGoneHome(state: ConfinedPath): boolean {
  const birth = readMetadata(state.join("birth"));
  const [, namespace, path] = /^\d+ (\d+) (.*)$/s.exec(birth ?? "") ?? [];
  if (namespace !== mountNamespace()) return false;
  const home = lstatTrusted(path);
  return home === undefined ||
    stateName(`${home.devMajor}:${home.devMinor}`, home.inode) !== state.name;
}

/** The directory of a home's state; only root can enter it. */
export function runDirectory({ device, inode }: Home): string {
  return `${RUN_ROOT}/${stateName(device, inode)}`;
}

function stateName(device: string, inode: bigint): string {
  return `${device.replace(":", ".")}-${inode}`;
}

/** A hold on a layer's content, for the time of a transfer. */
export class Use implements Disposable {
  constructor(readonly fd: number, readonly path: ConfinedPath) {}

  /**
   * Whether this is the layer's only transfer. The caller holds the layer's lock. The hold may be
   * lost, so call this at the end of the transfer.
   */
  isLast(): boolean {
    // Held shared again at once: others may begin, and wait for the layer's lock.
    return tryLock(this.fd, "exclusive", this.path.text) &&
      tryLock(this.fd, "shared", this.path.text);
  }

  [Symbol.dispose](): void {
    // Only the last holder may remove the name, the one that gets the lock exclusively. Another may
    // have done so while this one changed its lock.
    if (tryLock(this.fd, "exclusive") && isCurrent(this.fd, this.path)) tryUnlink(this.path);
    close(this.fd);
  }
}

/** An exclusive hold on a layer, and its reference count. */
export class LayerLock implements Disposable {
  #record: References | undefined;

  private constructor(readonly fd: number, readonly path: ConfinedPath) {}

  /** Opens the lock file, not locked yet. */
  static open(path: ConfinedPath): LayerLock {
    return new LayerLock(open(path, O_RDWR | O_CREAT, 0o600), path);
  }

  /** Whether the name still leads to this file: its last holder may have removed it. */
  isCurrent(): boolean {
    return isCurrent(this.fd, this.path);
  }

  /** How often `get` was called without a `put`. */
  get references(): References {
    if (this.#record) return this.#record;
    const buffer = new Uint8Array(RECORD_LENGTH);
    const length = pread(this.fd, buffer, RECORD_LENGTH, 0n);
    return this.#record = decodeReferences(buffer.subarray(0, length));
  }

  /** Recorded at once and as a whole. */
  set references(references: References) {
    this.#record = references;
    pwriteAll(this.fd, encodeReferences(references), 0n);
  }

  /** Unlocks; a layer without references or a mount of transfers leaves no file behind. */
  [Symbol.dispose](): void {
    const { count, namespace } = this.references;
    if (count === 0 && namespace === "") unlink(this.path);
    close(this.fd);
  }
}

let ownNamespace: string | undefined;

/** This process's mount namespace, by the inode that `/proc/self/ns/mnt` shows. */
export function mountNamespace(): string {
  return ownNamespace ??= /\d+/.exec(readlink("/proc/self/ns/mnt"))?.[0] ?? "";
}

const opened = new Stat(), named = new Stat();

function isCurrent(fd: number, path: ConfinedPath): boolean {
  return fstat(fd, opened).links > 0 && tryLstat(path, named)?.inode === opened.inode;
}

/** Waits for a lock, with growing pauses, until it has it or {@linkcode PATIENCE} is at its end. */
function waitForLock(fd: number, mode: LockMode, what: string): true {
  const deadline = performance.now() + PATIENCE;
  for (let pause = 0.2;; pause = Math.min(pause * 1.5, 20)) {
    if (tryLock(fd, mode, what)) return true;
    if (performance.now() > deadline) {
      throw new VeneerError(
        "in use",
        `${what} has been locked for ${PATIENCE / 1000} s${
          by(holdersOf(fd))
        }; end that process or wait`,
      );
    }
    sleep(pause * (0.5 + Math.random()));
  }
}

const by = (holders: readonly string[]) => holders.length > 0 ? ` by ${holders.join(", ")}` : "";
