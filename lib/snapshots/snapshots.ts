/**
 * A snapshotter on a backend: the part that is the same for every driver.
 *
 * Names, kinds, parents and labels are in a database (`snapshots/store.ts`), and layers in the
 * backend. A process may be killed between the changes of the two, so every creation and deletion
 * is first recorded as an *intent*. Only a service makes snapshots without one, in half the
 * transactions: until a snapshot is recorded, the file of its layer's lock tells of the layer.
 *
 * Invariants:
 * - Every layer on disk belongs to a snapshot or to an intent, never to both, or has a lock's file.
 *   Only a power failure, or a kill before a boot, can leave a layer with none, because records of
 *   intents reach the disk with the next snapshot's record. `cleanup` deletes such layers.
 * - A snapshot's record is made after its layer, and removed before it.
 * - Every change of a layer is made under its lock. So an intent whose layer is not locked was left
 *   by a dead process or by a failed deletion: it reserves nothing, and the layer is deleted. That
 *   is done for all such layers when a store is opened, and for a layer whose name is needed.
 * - An intent reserves its name, and keeps its parent from being removed. Without one, the record
 *   fails if either has changed, and the layer is deleted.
 *
 * Locks are those of `run_state.ts`, taken in this order: that of an active layer, then that of the
 * committed layer made from it, then the home's. Those of other layers are only tried. A
 * transaction of the database comes last, and nothing that may wait is called inside it. A process
 * that creates a snapshot holds the home's lock: `cleanup` releases a backend's resources only if
 * no process holds that lock.
 *
 * @module
 */
import { attempt, type VeneerError } from "../base/errors.ts";
import { storeClosed } from "../base/opened.ts";
import { type FileArgument, withInput } from "../base/descriptors.ts";
import { IDENTITY, type IdMaps } from "../base/id_maps.ts";
import type { Inflater } from "../base/inflater.ts";
import type { SyncMode } from "../base/sync_mode.ts";
import { openTarInput } from "../tar/apply/apply.ts";
import type { ChangeIterator } from "../tree/changes.ts";
import type { StatusLine } from "../base/status.ts";
import { type Warn, warningOf } from "../base/warn.ts";
import { IdmappedPort, refuseMappedTwice } from "../mount/idmapped_port.ts";
import { endWatch } from "../mount/mountinfo.ts";
import { endAsking } from "../mount/upper_state.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import { isHomeMountOurs, releaseHome } from "../store/private_home.ts";
import { pruneRunStates } from "../store/prune_run_states.ts";
import { RunState } from "../store/run_state.ts";
import { holdToChange } from "../store/service_hold.ts";
import type { SnapshotBackend } from "./backend.ts";
import { Committing } from "./committing.ts";
import type { Database } from "./database.ts";
import { compile } from "./filter.ts";
import type { Intents } from "./intents.ts";
import { checkField, checkKey, checkLabels, relabelled, shown } from "./keys.ts";
import { checkCommitted, checkMountable } from "./kinds.ts";
import { isLimited, LIMIT_OPTIONS, NO_LIMITS } from "./limits.ts";
import { Making } from "./making.ts";
import { type MountableSnapshots, MountedSnapshots } from "./mounted_snapshots.ts";
import { PublishedLabels } from "./published_labels.ts";
import type { Snapshot } from "./records.ts";
import { requireRemap } from "./remap.ts";
import { Removing } from "./removing.ts";
import { type Purpose, Session } from "./session.ts";
import type {
  AgedUsage,
  CommitOptions,
  DiffOptions,
  Leftovers,
  SnapshotInfo,
  SnapshotMountOptions,
  SnapshotOptions,
  Snapshotter,
  SnapshotUpdate,
  Usage,
} from "./snapshotter.ts";
import type { Store } from "./store.ts";
import { type Begun, type LoggedOptions, SnapshotTransfers } from "./transfers.ts";
import { agedUsageOf, usageOf } from "./usage.ts";
import { USAGE_AGE } from "./usage_age.ts";
import type { SnapshotsContext } from "./snapshots_context.ts";
import { SnapshotUses } from "./uses.ts";
import type { Listed } from "./walker.ts";

/** {@linkcode Snapshotter}, implemented on a {@linkcode SnapshotBackend}. */
export class Snapshots implements Snapshotter, MountableSnapshots {
  readonly #backend: SnapshotBackend;
  readonly #state: RunState;
  readonly #uses: SnapshotUses;
  readonly #committing: Committing;
  readonly #removing: Removing;
  readonly #mounted: MountedSnapshots;
  readonly #published: PublishedLabels;
  readonly #transfers: SnapshotTransfers;
  readonly #warn: Warn;
  readonly #later: (() => void) | undefined;
  readonly #purpose: Purpose;
  readonly #sync: SyncMode;
  readonly #making: Making;
  readonly #usageAge: number;
  readonly #idMaps: IdMaps;
  readonly #inflater: Inflater | undefined;
  /** Keeps services from holding the store; `undefined` if it is not opened for changes. */
  #claim: Disposable | undefined;
  /** The open database; `undefined` after a release of the home, until it is needed again. */
  #opened: Session | undefined;
  #isClosed = false;
  /** Whether the home may no longer need its own mount. */
  #hasUnmounted = false;

  /**
   * Opens a store, creating it if it is missing, and finishes the work of killed processes.
   *
   * @throws {VeneerError} `in use` if it is opened for changes and a service holds it; `corrupt
   * store` if there are layers but no database, or if the database is damaged; `incompatible` if it
   * is another program's or of a newer version
   */
  constructor(
    {
      backend,
      port,
      warn,
      sync = "none",
      idMaps = IDENTITY,
      workers,
      inflater,
      foreignUses = "refuse",
      later,
      purpose = "change",
      limits = NO_LIMITS,
      usageAge = USAGE_AGE,
      isRemapped = false,
    }: SnapshotsContext,
  ) {
    if (isLimited(limits) && purpose !== "read") {
      backend.checkLimits(limits, `the options ${LIMIT_OPTIONS.join(" and ")}`);
    }
    if (isRemapped && purpose !== "read") requireRemap(backend, idMaps);
    this.#usageAge = usageAge;
    this.#idMaps = idMaps;
    this.#inflater = inflater;
    this.#backend = backend;
    this.#warn = warn;
    this.#later = later;
    this.#purpose = purpose;
    this.#sync = sync;
    this.#published = new PublishedLabels(backend);
    this.#state = RunState.of(backend.home);
    this.#uses = new SnapshotUses(backend, this.#state, foreignUses);
    const state = this.#state, uses = this.#uses;
    const making = this.#making = new Making(
      backend,
      state,
      limits,
      isRemapped,
      later === undefined,
    );
    this.#transfers = new SnapshotTransfers(
      { backend, state, uses, port, idMaps, sync, workers, making, warn },
    );
    const check = (snapshot: Snapshot) => this.#checkWhole(snapshot);
    this.#committing = new Committing(backend, state, uses, sync, check);
    const checkIdle = (snapshot: Snapshot) => this.#checkIdle(snapshot);
    this.#removing = new Removing(backend, uses, later, checkIdle);
    this.#mounted = new MountedSnapshots(this, backend.home, this.#state, port);
    this.#claim = purpose === "change" ? holdToChange(this.#state, this.home) : undefined;
    try {
      this.#opened = this.#open();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #open(): Session {
    return new Session({
      backend: this.#backend,
      state: this.#state,
      warn: this.#warn,
      purpose: this.#purpose,
      sync: this.#sync,
      later: this.#later,
    });
  }

  get name(): string {
    return this.#backend.name;
  }

  get home(): string {
    return this.#backend.home.path;
  }

  get mountsStay(): boolean {
    return this.#backend.mountsStay ?? false;
  }

  status(): readonly StatusLine[] {
    this.#requireOpen();
    return this.#backend.status();
  }

  #requireOpen(): void {
    if (this.#isClosed) throw storeClosed(this.home);
  }

  get #session(): Session {
    this.#requireOpen();
    return this.#opened ??= this.#open();
  }

  get #store(): Store {
    return this.#session.store;
  }

  get #intents(): Intents {
    return this.#session.intents;
  }

  prepare(key: string, parent: string, options: SnapshotOptions = {}): Mount[] {
    return this.#state.hold(() =>
      this.#making.make(this.#session, "active", key, { ...options, parent })
    );
  }

  view(key: string, parent: string, options: SnapshotOptions = {}): Mount[] {
    return this.#state.hold(() =>
      this.#making.make(this.#session, "view", key, { ...options, parent })
    );
  }

  mounts(key: string): Mount[] {
    using held = this.#session.hold(key);
    checkMountable(held.snapshot);
    this.#checkWhole(held.snapshot);
    const store = this.#store;
    const remap = this.#making.isRemapped
      ? this.#making.remapOf(store.info(key).labels)
      : undefined;
    return this.#backend.mounts(store.chain(held.snapshot), remap);
  }

  mount(key: string, directory?: string, { idMaps }: SnapshotMountOptions = {}): string {
    this.#requireOpen();
    if (idMaps !== undefined) refuseMappedTwice(`snapshot ${shown(key)}`, this.#idMaps);
    using mapped = idMaps && new IdmappedPort(this.#backend, idMaps);
    try {
      return directory === undefined
        ? this.#mounted.mount(key, mapped)
        : this.#mounted.mountAt(key, directory, mapped);
    } catch (error) {
      this.#hasUnmounted = true;
      throw error;
    }
  }

  unmount(key: string): string {
    this.#requireOpen();
    this.#hasUnmounted = true;
    return this.#mounted.unmount(key);
  }

  /** See `MountedSnapshots`. */
  unmountAbandoned(key: string): boolean {
    this.#requireOpen();
    this.#hasUnmounted = true;
    return this.#mounted.unmountAbandoned(key);
  }

  unmountAt(directory: string): string {
    this.#requireOpen();
    this.#hasUnmounted = true;
    return this.#mounted.unmountAt(directory);
  }

  /** The open database, for records that are not snapshots' (`lib/images/`). */
  get database(): Database {
    return this.#store.database;
  }

  /**
   * Runs `act`, which removes a key, while the snapshot is not mounted below the home: without the
   * key it could not be unmounted there. In a service the engine keeps track of its mounts.
   */
  #whileUnmounted(key: string, act: () => void): void {
    if (this.#uses.foreignUses === "ignore") act();
    else this.#mounted.whileUnmounted(key, act);
  }

  layerOf(key: string): string | undefined {
    return this.#store.find(key)?.layer;
  }

  plan(key: string, target: string): MountPlan {
    using held = this.#session.hold(key);
    checkMountable(held.snapshot);
    this.#checkComplete(held.snapshot);
    return this.#backend.plan(this.#store.chain(held.snapshot), target);
  }

  beforeUnmount(target: string): void {
    this.#backend.beforeUnmount?.(target);
  }

  /**
   * Whether there may be transfers of snapshots. A service's snapshots are filled by its engine,
   * through mounts.
   */
  get #hasTransfers(): boolean {
    return this.#uses.foreignUses === "refuse";
  }

  #checkComplete(snapshot: Snapshot): void {
    if (this.#hasTransfers) this.#transfers.checkComplete(snapshot);
  }

  #checkIdle(snapshot: Snapshot): void {
    if (this.#hasTransfers) this.#transfers.checkIdle(snapshot);
  }

  #checkWhole(snapshot: Snapshot): void {
    this.#checkIdle(snapshot);
    this.#checkComplete(snapshot);
  }

  applyDiff(key: string, input: FileArgument, options: LoggedOptions = {}): number {
    const session = this.#session;
    this.#hasUnmounted = true;
    return withInput(input, (fd) => {
      // This reads from the client, so it comes before all locks.
      using tar = openTarInput(fd, { onWaiting: options.onWaiting, inflater: this.#inflater });
      using begun = this.#begin(session, key);
      return this.#transfers.apply(begun, tar, options);
    });
  }

  #begin(session: Session, key: string): Begun {
    let begun: Begun | undefined;
    this.#whileUnmounted(key, () => begun = this.#transfers.begin(session, key));
    return begun!;
  }

  diff(key: string, output: FileArgument, { parent, ...options }: DiffOptions = {}): number {
    this.#hasUnmounted = true;
    using scope = new DisposableStack();
    const delta = this.#transfers.open(this.#session, key, parent, scope);
    return this.#transfers.export(delta, output, options);
  }

  changes(key: string, parent?: string): ChangeIterator {
    this.#hasUnmounted = true;
    return this.#transfers.changes(this.#session, key, parent);
  }

  commit(name: string, key: string, options: CommitOptions = {}): void {
    this.#state.hold(() => this.#commit(name, key, options));
  }

  #commit(name: string, key: string, options: CommitOptions): void {
    checkKey(name);
    checkKey(key);
    const labels = checkLabels(options.labels);
    const { parent = "", sync = false } = options;
    if (parent !== "") checkKey(parent, "parent");
    this.#whileUnmounted(key, () => {
      const session = this.#session;
      const finish = (snapshot: Snapshot) => this.#removing.finish(session, snapshot);
      this.#committing.commit(session, { name, key, labels, parent }, finish);
      if (sync && session.store.durability === "in order") session.store.sync();
    });
  }

  remove(key: string): void {
    checkKey(key);
    const remove = () => {
      const session = this.#session;
      using held = session.hold(key);
      this.#removing.remove(session, held.snapshot);
    };
    this.#whileUnmounted(key, () => this.#state.hold(remove));
  }

  deleteRemoved(isEnough: () => boolean = () => false): Leftovers {
    return this.#intents.deleteDoomed(isEnough);
  }

  checkUnused(key: string): void {
    using held = this.#session.hold(key);
    this.#uses.checkUnused(held.snapshot, this.#store.chainToRemove(held.snapshot));
  }

  isMountedAt(key: string, target: string): boolean {
    using held = this.#session.hold(key);
    return this.#uses.isMountedAt(this.#store.chain(held.snapshot), target);
  }

  openFiles(name: string, scope: DisposableStack, isRead = false): number | undefined {
    checkKey(name);
    return this.#backend.openFiles?.(this.#store.info(name).layer, scope, isRead);
  }

  stat(key: string): SnapshotInfo {
    checkKey(key);
    return this.#withState(this.#published.addedTo(this.#store.info(key)));
  }

  #withState(info: SnapshotInfo): SnapshotInfo {
    const isIncomplete = this.#hasTransfers && info.kind === "active" &&
      this.#transfers.isIncomplete(info.layer);
    return isIncomplete ? { ...info, incomplete: true } : info;
  }

  update({ name, labels }: SnapshotUpdate, fields: readonly string[] = []): SnapshotInfo {
    checkKey(name);
    const changed = checkLabels(labels);
    for (const field of fields) checkField(field);
    const info = this.#store.relabel(
      name,
      (old, layer) => {
        const labels = this.#published.takenFrom(relabelled(old, changed, fields), layer);
        this.#making.remapOf(labels); // Throws if they are invalid.
        return labels;
      },
    );
    return this.#published.addedTo(info);
  }

  walk(filters: readonly string[] = []): Iterable<SnapshotInfo> {
    const fits = compile(filters);
    const store = this.#store, published = this.#published;
    const withState = (info: SnapshotInfo) => this.#withState(info);
    return (function* () {
      for (const plain of store.walk()) {
        const info = published.addedTo(plain);
        if (fits(info)) yield withState(info);
      }
    })();
  }

  /**
   * All snapshots but those with a label, in the order of {@linkcode walk}. Only the records that
   * the caller asks for are read.
   */
  *listed(without: string): Generator<Listed> {
    for (const { layer, updated, info } of this.#store.listed(without)) {
      const whole = () => this.#withState(this.#published.addedTo(info()));
      yield { layer, updated, info: whole };
    }
  }

  get version(): string {
    return this.#store.version;
  }

  /** All snapshots as they are recorded, without the labels that the driver publishes. */
  *recorded(): Iterable<SnapshotInfo> {
    for (const info of this.#store.walk()) yield this.#withState(info);
  }

  /** Sets the times of a snapshot that was copied from another store to those it had there. */
  setTimes(name: string, { created, updated }: Pick<SnapshotInfo, "created" | "updated">): void {
    checkKey(name);
    this.#store.setTimes(name, created, updated);
  }

  usage(key: string): Usage {
    checkKey(key);
    return usageOf(key, this.#store, this.#backend);
  }

  agedUsage(key: string): AgedUsage {
    checkKey(key);
    const store = this.#store, backend = this.#backend;
    return agedUsageOf(key, { store, backend, atLeast: this.#usageAge });
  }

  cleanup(failed?: (error: VeneerError) => void): string[] {
    const store = this.#store;
    const tell = failed ?? ((error: VeneerError) => this.#warn(error.message));
    // The mounts of a service's store belong to its engine.
    const isOwn = this.#later === undefined;
    const swept = isOwn ? attempt(tell, this.home, () => this.#mounted.sweep()) ?? [] : [];
    if (this.#backend.home.isReadOnly) return [...swept, ...this.#releaseHome(tell)];
    // The layers are listed before the records are read: an intent is recorded before its layer is
    // made.
    const found = this.#backend.list();
    const done = [
      ...swept,
      ...this.#intents.deleteOrphans(found, tell),
      ...this.#intents.sweepAll(tell),
    ];
    // Done again, because a process may have been killed after it recorded an import.
    attempt(tell, this.home, () => this.#backend.imported());
    attempt(tell, "locks of killed processes", () => this.#state.forgetLocks());
    attempt(tell, "states of removed stores", () => pruneRunStates(this.#warn));
    // A service will soon need these resources again.
    if (!isOwn) return done;
    attempt(tell, this.home, () => {
      using still = this.#state.tryLockHome();
      if (still !== undefined && !store.isInUse()) this.#backend.release();
    });
    return [...done, ...this.#releaseHome(tell)];
  }

  /** Unmounts the home's own mount, if it is Veneer's and unused. Returns a line if it did. */
  #releaseHome(failed: (error: VeneerError) => void): string[] {
    const { home } = this.#backend;
    if (!isHomeMountOurs(home, this.#state)) return [];
    // The database is open through that mount, so it is closed first.
    this.#endSession();
    const released = attempt(failed, this.home, () => releaseHome(home, this.#state));
    return released ? [`released ${this.home}`] : [];
  }

  #endSession(): void {
    this.#opened?.[Symbol.dispose]();
    this.#opened = undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#endSession();
    const tell = warningOf(this.#warn);
    if (this.#hasUnmounted) this.#releaseHome(tell);
    this.#claim?.[Symbol.dispose]();
    this.#claim = undefined;
    endWatch();
    endAsking();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  parent(name: string): string {
    return this.#store.rules.parentName(this.#committed(name));
  }

  exists(name: string): boolean {
    checkKey(name);
    return this.#store.find(name)?.kind === "committed";
  }

  delete(name: string): void {
    // A committed snapshot has no mounts, so that is not checked.
    const session = this.#session;
    using held = session.hold(name);
    checkCommitted(held.snapshot);
    this.#removing.remove(session, held.snapshot);
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
}
