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
import { close, O_CREAT, O_RDWR, withFd } from "../../ffi/files.ts";
import { type LockMode, tryLock } from "../../ffi/flock.ts";
import { ENOENT } from "../../ffi/errno.ts";
import { tryLstatMount } from "../../ffi/stat.ts";
import {
  type ConfinedPath,
  list,
  makeDirectory,
  open,
  removeTree,
  tryOpen,
  tryUnlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { VeneerError } from "../base/errors.ts";
import type { Home } from "./home.ts";
import { holdersOf, isNamespaceAlive } from "../base/processes.ts";
import { isCurrent, LayerLock, Use } from "./layer_lock.ts";
import { by, waitForLock } from "./lock_wait.ts";
import { readMetadata, removeMetadata, writeFile, writeMetadata } from "./metadata.ts";
import { mountNamespace } from "./mount_namespace.ts";
import { decodeReferences, type References, UNUSED } from "./mount_record.ts";
import { RUN_ROOT, RunRoot, stateName } from "./run_root.ts";
import { sleep } from "../base/sleep.ts";

/** How long a `use` lock is tried for, in milliseconds. */
const MOMENT = 100;

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
        if (lock.look()) return lock;
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
    if (tryLock(lock.fd, "exclusive", lock.path.text) && lock.look()) return lock;
    close(lock.fd);
    return undefined;
  }

  /** The layers with a file of a lock: held, left by a killed process, or with a mount count. */
  lockedLayers(): string[] {
    return list(this.#directory.join("layers"));
  }

  /** Removes lock files of layers that killed processes left, unless they contain a mount count. */
  forgetLocks(): void {
    for (const id of this.lockedLayers()) this.tryLockLayer(id)?.[Symbol.dispose]();
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
        if (isCurrent(fd)) return new Use(fd, path);
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
