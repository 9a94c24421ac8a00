/**
 * A snapshotter over a backend: the part that is the same for every driver.
 *
 * Names, kinds, parents and labels are in a database (`snapshots/store.ts`), layers are the
 * backend's. A process may be killed between changing one and the other, so every creation and
 * deletion is first recorded as an *intent*.
 *
 * Invariants:
 * - Every layer on disk is a snapshot's or an intent's, never both. Only a power failure can leave
 *   a layer without either, because records of intents reach the disk with the next snapshot's
 *   record. `cleanup` deletes such layers.
 * - A snapshot's record comes after its layer, and goes before it.
 * - Every change of a layer holds its lock. So an intent whose layer is not locked is from a dead
 *   process or a failed deletion: it reserves nothing, and the layer is deleted. That happens for
 *   all such layers when a store is opened, and for one whose name is needed.
 * - An intent reserves its name, and keeps its parent from being removed.
 *
 * Locks are `run_state.ts`'s, in this order: an active layer's, then that of the committed one that
 * is made from it, then the home's; other layers' are only tried. A transaction of the database
 * comes last of all, and nothing that may wait is called inside one. A process that creates a
 * snapshot holds the home's lock: `cleanup` releases a backend's resources only if no process holds
 * it.
 *
 * @module
 */
import { O_DIRECTORY, O_RDONLY, open, syncfs, withFd } from "../../ffi/files.ts";
import { attempt, codeOf, reworded, VeneerError } from "../base/errors.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import { mountNamespace, pruneRunStates, RunState } from "../store/run_state.ts";
import { holdToChange, tryHoldToChange } from "../store/service_hold.ts";
import { type LayerChain, NO_MOUNT, type SnapshotBackend } from "./backend.ts";
import { sleep } from "../base/sleep.ts";
import type { Warn } from "../base/warn.ts";
import { compile } from "./filter.ts";
import { Intents } from "./intents.ts";
import { checkField, checkKey, checkLabels, relabelled, shown } from "./keys.ts";
import { MountRecords } from "./mount_records.ts";
import { openStore } from "./open_store.ts";
import { PublishedLabels } from "./published_labels.ts";
import type { Snapshot } from "./records.ts";
import { checkCommitted, checkMountable } from "./kinds.ts";
import type { Store } from "./store.ts";
import { usageOf } from "./usage.ts";
import type {
  CommitOptions,
  Leftovers,
  SnapshotInfo,
  SnapshotKind,
  SnapshotOptions,
  Snapshotter,
  SnapshotUpdate,
  Usage,
} from "./snapshotter.ts";

/** How often, and at which interval in milliseconds, the free space is checked after a deletion. */
const ROOM_TRIES = 20, ROOM_PAUSE = 250;

/** The parts and settings of a snapshotter. */
export interface SnapshotsContext {
  readonly backend: SnapshotBackend;
  /** Gets warnings of one line each. */
  readonly warn: Warn;
  /** Sync the home's file system before a snapshot counts as committed; false by default. */
  readonly sync?: boolean;
  /**
   * Whether mounted snapshots are refused by commits and removals; refused by default. A service
   * owns its store, and the mounts are those of the engine that calls it.
   */
  readonly foreignUses?: ForeignUses;
  /**
   * Called when a layer waits for deletion. If given, neither opening the store nor a removal
   * deletes layers; only {@linkcode Snapshots.deleteRemoved} does. For a service, whose callers
   * should not wait for that.
   */
  readonly later?: () => void;
  /** The purpose of opening the store; `change` by default. */
  readonly purpose?: Purpose;
}

/**
 * The purpose of opening a store:
 * - `change`: refused while a service holds the store, and keeps services from that until it is
 *   closed;
 * - `read`: beside a service as well. The service then finishes the work of interrupted processes;
 * - `serve`: by the service that holds it (`service_hold.ts`).
 */
export type Purpose = "change" | "read" | "serve";

/** The treatment of mounts of a snapshot in a commit or a removal. */
export type ForeignUses = "refuse" | "ignore";

/** A snapshot whose layer is locked. */
interface Held extends Disposable {
  readonly snapshot: Snapshot;
}

/** {@linkcode Snapshotter} over a {@linkcode SnapshotBackend}. */
export class Snapshots implements Snapshotter {
  readonly #backend: SnapshotBackend;
  readonly #state: RunState;
  readonly #intents: Intents;
  readonly #sync: boolean;
  readonly #foreignUses: ForeignUses;
  readonly #later: (() => void) | undefined;
  readonly #mountRecords: MountRecords;
  readonly #published: PublishedLabels;
  readonly #warn: Warn;
  /** The hold against services. */
  #claim: Disposable | undefined;
  #opened: Store | undefined;

  /**
   * Opens a store, creating it if it is missing, and finishes the work of killed processes.
   *
   * @throws {VeneerError} `in use` if it is opened for changes and a service holds it;
   * `corrupt store` if there are layers but no database, or the database is damaged; `incompatible`
   * for one of another program or a newer version
   */
  constructor(
    { backend, warn, sync = false, foreignUses = "refuse", later, purpose = "change" }:
      SnapshotsContext,
  ) {
    this.#backend = backend;
    this.#sync = sync;
    this.#warn = warn;
    this.#foreignUses = foreignUses;
    this.#later = later;
    this.#published = new PublishedLabels(backend);
    this.#state = new RunState(backend.home);
    this.#mountRecords = new MountRecords(this.#state);
    this.#claim = purpose === "change" ? holdToChange(this.#state, this.home) : undefined;
    try {
      const store = this.#opened = openStore(backend, this.#state, warn);
      this.#intents = new Intents({ store, state: this.#state, backend, warn });
      this.#finishInterrupted(purpose);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Finishes the work of killed processes, unless a service does that. */
  #finishInterrupted(purpose: Purpose): void {
    if (this.#later !== undefined) {
      if (this.#intents.abandonDead()) this.#later();
      return;
    }
    using hold = purpose === "read" ? tryHoldToChange(this.#state) : undefined;
    if (purpose === "change" || hold !== undefined) this.#intents.sweep();
  }

  get driver(): string {
    return this.#backend.name;
  }

  get home(): string {
    return this.#backend.home.path;
  }

  get #store(): Store {
    if (this.#opened !== undefined) return this.#opened;
    throw new VeneerError(
      "failed precondition",
      `the store at ${this.home} was closed; open it again`,
    );
  }

  prepare(key: string, parent: string, options: SnapshotOptions = {}): Mount[] {
    return this.#make("active", key, parent, options);
  }

  view(key: string, parent: string, options: SnapshotOptions = {}): Mount[] {
    return this.#make("view", key, parent, options);
  }

  #make(kind: SnapshotKind, key: string, parent: string, options: SnapshotOptions): Mount[] {
    checkKey(key);
    if (parent !== "") checkKey(parent, "parent");
    const labels = checkLabels(options.labels);
    const store = this.#store;
    const layer = this.#backend.layerFor(kind, key) ?? this.#store.newLayer();
    using _lock = this.#state.lockLayer(layer);
    using _home = this.#state.holdHome();
    return this.#intents.make(layer, key, parent, () => {
      const chain = store.chainOn(layer, kind, parent);
      this.#backend.prepare(chain);
      const mounts = this.#backend.mounts(chain);
      store.adopt({ layer, name: key, kind, parent, labels });
      return mounts;
    });
  }

  mounts(key: string): Mount[] {
    using held = this.#hold(key);
    checkMountable(held.snapshot);
    return this.#backend.mounts(this.#store.chain(held.snapshot));
  }

  plan(key: string, target: string): MountPlan {
    using held = this.#hold(key);
    checkMountable(held.snapshot);
    return this.#backend.plan(this.#store.chain(held.snapshot), target);
  }

  beforeUnmount(target: string): void {
    this.#backend.beforeUnmount?.(target);
  }

  commit(name: string, key: string, options: CommitOptions = {}): void {
    checkKey(name);
    const labels = checkLabels(options.labels);
    const { parent = "" } = options;
    if (parent !== "") checkKey(parent, "parent");
    const store = this.#store;
    this.#intents.claim(name);
    store.checkFree(name);
    using held = this.#holdForCommit(name, key);
    const { snapshot } = held;
    this.#checkRebase(snapshot, parent);
    store.checkCommit(snapshot, name, parent); // Before anything is done to the layer.
    this.#checkUnused(snapshot);
    const chain = store.chain(snapshot);
    const layer = this.#backend.layerFor("committed", name) ?? this.#sealed(snapshot, chain);
    if (layer === undefined) {
      this.#writeOut();
      store.commit(snapshot, { name, labels, parent });
      return;
    }
    {
      using _lock = this.#state.lockLayer(layer);
      this.#intents.make(layer, name, parent, () => {
        this.#backend.freeze(chain, layer);
        this.#writeOut();
        store.commit(snapshot, { name, labels, parent, layer });
      });
    }
    this.#finish(snapshot);
  }

  /**
   * Seals a layer. If it is in use and that is allowed, returns the id of a new layer to make from
   * it.
   */
  #sealed(snapshot: Snapshot, chain: LayerChain): string | undefined {
    try {
      naming(snapshot, () => this.#backend.seal(chain));
      return undefined;
    } catch (error) {
      if (this.#foreignUses === "refuse" || codeOf(error) !== "in use") throw error;
      return this.#store.newLayer();
    }
  }

  #writeOut(sync = this.#sync): void {
    if (sync) withFd(open(this.home, O_RDONLY | O_DIRECTORY), (fd) => syncfs(fd, this.home));
  }

  /** @throws {VeneerError} `not supported` if the driver's layers include their parent's content */
  #checkRebase(snapshot: Snapshot, parent: string): void {
    if (parent === "" || this.#backend.rebases || parent === this.#store.parentName(snapshot)) {
      return;
    }
    throw new VeneerError(
      "not supported",
      `${this.driver} cannot commit snapshot ${
        shown(snapshot.name)
      } on another parent; prepare it on ${shown(parent)}`,
    );
  }

  remove(key: string): void {
    using held = this.#hold(key);
    this.#remove(held.snapshot);
  }

  #remove(snapshot: Snapshot): void {
    const store = this.#store;
    for (const layer of store.reservedOn(snapshot)) this.#intents.finishDead(layer);
    store.checkChildless(snapshot);
    this.#checkUnused(snapshot);
    try {
      store.remove(snapshot);
    } catch (error) {
      if (codeOf(error) !== "limit exceeded") throw error;
      this.#removeToMakeRoom(snapshot);
    }
    this.#finish(snapshot);
  }

  /** Deletes the layer that a snapshot had, or marks it for a later deletion. */
  #finish({ layer }: Snapshot): void {
    if (this.#later === undefined) this.#intents.tryToFinish(layer);
    else this.#later();
  }

  deleteRemoved(isEnough: () => boolean = () => false): Leftovers {
    return this.#intents.deleteDoomed(isEnough);
  }

  /**
   * If the disk is too full even for a record (btrfs without space for metadata), the layer is
   * deleted before its record, while no snapshot can be built on it. A process killed in between
   * leaves a snapshot whose layer is missing; its use is refused with that reason, and it can be
   * removed.
   */
  #removeToMakeRoom(snapshot: Snapshot): void {
    for (let tries = 1;; tries++) {
      try {
        return this.#store.remove(snapshot, () => {
          this.#backend.remove(snapshot.layer);
          // Some file systems free space only with their next commit.
          this.#writeOut(true);
        });
      } catch (error) {
        if (codeOf(error) !== "limit exceeded" || tries >= ROOM_TRIES) throw error;
        sleep(ROOM_PAUSE);
      }
    }
  }

  checkUnused(key: string): void {
    using held = this.#hold(key);
    this.#checkUnused(held.snapshot);
  }

  isMountedAt(key: string, target: string): boolean {
    using held = this.#hold(key);
    let found = false;
    try {
      this.#backend.checkUnused(this.#store.chain(held.snapshot), ({ mount, namespace }) => {
        found ||= mount.mountPoint === target && namespace === mountNamespace();
        return true;
      });
    } catch (error) {
      if (codeOf(error) !== "in use") throw error;
    }
    return found;
  }

  #checkUnused(snapshot: Snapshot): void {
    const isNoUse = this.#foreignUses === "ignore"
      ? NO_MOUNT
      : this.#mountRecords.othersThan(snapshot.layer);
    naming(snapshot, () => this.#backend.checkUnused(this.#store.chainToRemove(snapshot), isNoUse));
  }

  stat(key: string): SnapshotInfo {
    checkKey(key);
    return this.#published.addedTo(this.#store.info(key));
  }

  update({ name, labels }: SnapshotUpdate, fields: readonly string[] = []): SnapshotInfo {
    checkKey(name);
    const changed = checkLabels(labels);
    for (const field of fields) checkField(field);
    const info = this.#store.relabel(
      name,
      (old, layer) => this.#published.takenFrom(relabelled(old, changed, fields), layer),
    );
    return this.#published.addedTo(info);
  }

  walk(filters: readonly string[] = []): Iterable<SnapshotInfo> {
    const fits = compile(filters);
    const store = this.#store, published = this.#published;
    return (function* () {
      for (const plain of store.walk()) {
        const info = published.addedTo(plain);
        if (fits(info)) yield info;
      }
    })();
  }

  usage(key: string): Usage {
    checkKey(key);
    return usageOf(key, this.#store, this.#backend);
  }

  cleanup(failed?: (error: VeneerError) => void): string[] {
    const store = this.#store;
    const tell = failed ?? ((error: VeneerError) => this.#warn(error.message));
    if (this.#backend.home.isReadOnly) return [];
    // Before the records are read: a layer comes after its record.
    const found = this.#backend.list();
    const done = [...this.#intents.deleteOrphans(found, tell), ...this.#intents.sweepAll(tell)];
    // Again: a process may have been killed after it recorded an import.
    attempt(tell, this.home, () => this.#backend.imported());
    attempt(tell, "states of removed stores", () => pruneRunStates(this.#warn));
    attempt(tell, this.home, () => {
      // A service will soon need these resources again.
      if (this.#later !== undefined) return;
      using still = this.#state.tryLockHome();
      if (still !== undefined && !store.isInUse()) this.#backend.close();
    });
    return done;
  }

  close(): void {
    this.#opened?.[Symbol.dispose]();
    this.#opened = undefined;
    this.#claim?.[Symbol.dispose]();
    this.#claim = undefined;
  }

  parent(name: string): string {
    return this.#store.parentName(this.#committed(name));
  }

  exists(name: string): boolean {
    checkKey(name);
    return this.#store.find(name)?.kind === "committed";
  }

  delete(name: string): void {
    using held = this.#hold(name);
    checkCommitted(held.snapshot);
    this.#remove(held.snapshot);
  }

  active(): string[] {
    return this.#store.active();
  }

  #committed(name: string): Snapshot {
    checkKey(name);
    const snapshot = this.#store.require(name);
    checkCommitted(snapshot);
    return snapshot;
  }

  /** Locks a snapshot's layer. @throws {VeneerError} `not found` */
  #hold(key: string): Held {
    checkKey(key);
    for (;;) {
      const { layer } = this.#store.require(key);
      const lock = this.#state.lockLayer(layer);
      // It may have been removed and created again during the wait.
      const snapshot = this.#store.find(key);
      if (snapshot?.layer === layer) {
        return { snapshot, [Symbol.dispose]: () => lock[Symbol.dispose]() };
      }
      lock[Symbol.dispose]();
    }
  }

  /**
   * Locks a snapshot to commit. After a concurrent commit of the same key, the error says that it
   * is committed.
   */
  #holdForCommit(name: string, key: string): Held {
    try {
      return this.#hold(key);
    } catch (error) {
      this.#store.checkFree(name);
      throw error;
    }
  }
}

/** Adds the snapshot's name to a backend's refusal of its layer. */
function naming({ name }: Snapshot, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof VeneerError)) throw error;
    throw reworded(error, `snapshot ${shown(name)}: ${error.message}`);
  }
}
