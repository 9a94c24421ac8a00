/**
 * The records of a store of snapshots, and the transactions on them.
 *
 * Each method that changes records is one transaction, and checks its preconditions inside it
 * (`rules.ts`): that a name is free, that a parent is committed, that a removed snapshot has no
 * children. If the comment of a method says that the change is on disk when it returns, that holds unless
 * {@linkcode Store.durability} is `in order`. A power failure may undo other changes, the latest
 * first.
 *
 * @module
 */
import { microsecondsNow } from "../../ffi/clock.ts";
import { codeOf, VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { LayerChain } from "./backend.ts";
import type { Labels, SnapshotInfo, SnapshotKind, Usage } from "./snapshotter.ts";
import type { ConfinedPath } from "../tree/confined.ts";
import { Database, type Durability } from "./database.ts";
import { shown } from "./keys.ts";
import { takeRoom } from "./log_reserve.ts";
import {
  type Ancestor,
  type Commit,
  infoOf,
  type Intent,
  type NewSnapshot,
  prepareAll,
  type Snapshot,
  type Statements,
} from "./records.ts";
import { notFound, Rules } from "./rules.ts";
import { keepSpare, migrate, requireSpare, VERSION, versionOf } from "./schema.ts";
import { type Listed, Walker } from "./walker.ts";

export class Store implements Disposable {
  readonly #database: Database;
  readonly #statements: Statements;
  readonly rules: Rules;
  /** The durability of changes that are documented to be on disk when they return. */
  durability: Durability = "on disk";
  #idleWalker: Walker | undefined;
  #isClosed = false;

  private constructor(database: Database) {
    this.#database = database;
    this.#statements = prepareAll(database);
    this.rules = new Rules(this.#statements);
  }

  /**
   * Opens the database of a store; creates or migrates it if needed. The caller excludes other
   * openers meanwhile.
   *
   * @param initial the snapshots of a new database, parents first
   * @param warn gets a line if changes in the log of a read-only database cannot be read
   */
  static open(
    path: ConfinedPath,
    initial: () => Iterable<NewSnapshot> = () => [],
    warn: Warn = () => {},
  ): Store {
    const database = Database.open(path, warn);
    try {
      const version = versionOf(database);
      const isReadable = database.access === "immutable" && version > 0;
      if (version === VERSION || isReadable) {
        if (database.access !== "immutable") keepSpare(database);
        return new Store(database);
      }
      const imported = version === 0 ? [...initial()] : [];
      migrate(database, version, () => {
        const store = new Store(database);
        for (const snapshot of imported) store.#insert(snapshot);
      });
      takeRoom(path);
    } catch (error) {
      database[Symbol.dispose]();
      throw error;
    }
    // The log and its index are prepared only for an existing database, so it is opened again.
    database[Symbol.dispose]();
    return Store.open(path, initial, warn);
  }

  /** The database, for records that are not snapshots', which have separate statements. */
  get database(): Database {
    return this.#database;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#idleWalker?.[Symbol.dispose]();
    this.#database[Symbol.dispose]();
  }

  /** The snapshot with a name or key, if there is one. */
  find(name: string): Snapshot | undefined {
    return this.#statements.find.get(name);
  }

  /** @throws {VeneerError} `not found` */
  require(name: string, what = "snapshot"): Snapshot {
    const snapshot = this.find(name);
    if (snapshot === undefined) throw notFound(name, what);
    return snapshot;
  }

  /** @throws {VeneerError} `not found` */
  info(name: string): SnapshotInfo {
    const row = this.#statements.info.get(name);
    if (row === undefined) throw notFound(name);
    return infoOf(row);
  }

  /** All snapshots, sorted by the bytes of their names, in the state at the start of the walk. */
  walk(): Generator<SnapshotInfo> {
    return this.#walkBy((walker) => walker.walk());
  }

  /** All snapshots but those with a label, in the same order, to be read only if they are new. */
  listed(without: string): Generator<Listed> {
    return this.#walkBy((walker) => walker.listed(without));
  }

  *#walkBy<T>(walk: (walker: Walker) => Generator<T>): Generator<T> {
    const walker = this.#idleWalker ?? this.#newWalker();
    this.#idleWalker = undefined;
    try {
      yield* walk(walker);
    } finally {
      // The walker is kept for the next walk, unless another one is already kept or the store is
      // closed.
      if (this.#idleWalker === undefined && !this.#isClosed) this.#idleWalker = walker;
      else walker[Symbol.dispose]();
    }
  }

  /**
   * Identifies the state of the records: it changes with every change, by any process. A walk that
   * begins after it was read returns this state or a later one.
   */
  get version(): string {
    this.#idleWalker ??= this.#newWalker();
    return this.#idleWalker.version;
  }

  /**
   * A walker has a separate connection: during a walk its caller may write, which needs
   * transactions on the store's connection.
   */
  #newWalker(): Walker {
    const { file, access } = this.#database;
    return new Walker(new Database(file, { readOnly: true, access }));
  }

  /** The keys of all snapshots that are not committed, sorted by their bytes. */
  active(): string[] {
    return this.#statements.active.all().map(({ name }) => name);
  }

  /**
   * A snapshot's layer and the layers below it.
   *
   * @throws {VeneerError} `corrupt store` if its parents form a circle
   */
  chain({ layer, kind, parent }: Snapshot): LayerChain {
    return { layer, kind, parents: this.#lineage(parent) };
  }

  /** The same for a removal. If the records of the parents are damaged, it has no layers below. */
  chainToRemove(snapshot: Snapshot): LayerChain {
    try {
      return this.chain(snapshot);
    } catch (error) {
      if (codeOf(error) !== "corrupt store") throw error;
      return { layer: snapshot.layer, kind: snapshot.kind, parents: [] };
    }
  }

  /** The chain of a layer that is being made on a parent; `""` for none. */
  chainOn(layer: string, kind: SnapshotKind, parent: string): LayerChain {
    if (parent === "") return { layer, kind, parents: [] };
    const lineage = this.#statements.lineageOf.all(parent);
    if (lineage.length === 0) throw notFound(parent);
    return { layer, kind, parents: this.#layersOf(lineage, parent) };
  }

  /** The layers of a snapshot and of its ancestors, its own first. */
  #lineage(id: number | null): string[] {
    return id === null ? [] : this.#layersOf(this.#statements.lineage.all(id));
  }

  /** @param name the first snapshot's name; it is read if it is not given */
  #layersOf(lineage: readonly Ancestor[], name?: string): string[] {
    // The last one has no parent, unless the records form a circle.
    if (lineage.at(-1)?.parent === null) return lineage.map(({ layer }) => layer);
    throw new VeneerError(
      "corrupt store",
      `the records of snapshots are damaged: the parents of ${
        shown(name ?? this.#statements.name.get(lineage[0].id)!.name)
      } form a circle; remove it`,
    );
  }

  /** A layer's intent, if there is one. */
  intent(layer: string): Intent | undefined {
    return this.#statements.intent.get(layer);
  }

  /** The layers with an intent. */
  intents(): string[] {
    return this.#statements.intents.all().map(({ layer }) => layer);
  }

  /** The layers that are to be deleted. */
  doomed(): string[] {
    return this.#statements.doomed.all().map(({ layer }) => layer);
  }

  /** The layer that is being made for a name. */
  reservedFor(name: string): string | undefined {
    return this.#statements.reservedFor.get(name)?.layer;
  }

  /** The layers that are being made on a snapshot. */
  reservedOn({ id }: Snapshot): string[] {
    return this.#statements.reservedOn.all(id).map(({ layer }) => layer);
  }

  /** An unused layer id: 40 random bits in base 32. */
  newLayer(): string {
    for (;;) {
      const random = crypto.getRandomValues(new Uint8Array(8));
      const layer = Array.from(random, (byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte & 31])
        .join("");
      if (!this.hasLayer(layer)) return layer;
    }
  }

  /** Whether a layer belongs to a snapshot or an intent. */
  hasLayer(layer: string): boolean {
    return this.#statements.hasLayer.get(layer) !== undefined;
  }

  /** The layers of all snapshots and intents. */
  layers(): Set<string> {
    return new Set(this.#statements.layers.all().map(({ layer }) => layer));
  }

  /** Whether there is an active snapshot, a view, or a snapshot that is being made. */
  isInUse(): boolean {
    return this.#statements.isInUse.get() !== undefined;
  }

  /**
   * Records that a layer is being made for a name.
   *
   * @param parent the committed snapshot to build on; `""` for none
   * @throws {VeneerError} `already exists` for the name, or for the layer, which an imported
   * snapshot may have under another name; `not found` or `invalid argument` for the parent
   */
  reserve(layer: string, name: string, parent: string): void {
    requireSpare(this.#database);
    this.#database.transaction("in order", () => {
      this.#statements.reserve.run(layer, name, this.rules.checkNew(layer, name, parent));
    });
  }

  /**
   * Checks that a snapshot could be recorded now; returns the chain of its layer.
   *
   * @throws {VeneerError} as {@linkcode reserve}, and as {@linkcode chain}
   */
  chainOfNew({ layer, name, kind, parent }: NewSnapshot): LayerChain {
    requireSpare(this.#database);
    // All of it by one query. If that shows a fault, further ones tell which.
    const below = this.#statements.lineageOfNew.all(name, layer, parent);
    const [nearest] = below, isGood = nearest?.kind === "committed" && nearest.isTaken === 0;
    if (isGood) return { layer, kind, parents: this.#layersOf(below, parent) };
    this.rules.checkNew(layer, name, parent);
    return this.chainOn(layer, kind, parent);
  }

  /**
   * Records a snapshot whose layer was created without an intent.
   *
   * @throws {VeneerError} as {@linkcode reserve}
   */
  add(snapshot: NewSnapshot): void {
    const { layer, name, kind, parent, labels, created = microsecondsNow() } = snapshot;
    this.#database.transaction(this.durability, () => {
      const inserted = parent === ""
        ? undefined
        : this.#statements.insertOn.get(name, layer, parent, kind, created);
      if (inserted !== undefined) this.#insertLabels(inserted.id, labels);
      else this.#insert(snapshot, this.rules.checkNew(layer, name, parent));
    });
  }

  /** Records that a layer which belongs to nothing is to be deleted. */
  doom(layer: string): void {
    this.#database.transaction("in order", () => {
      if (!this.hasLayer(layer)) this.#statements.reserve.run(layer, null, null);
    });
  }

  /**
   * Records the snapshot of a reserved layer that was created. The change is on disk when it
   * returns.
   */
  adopt(snapshot: NewSnapshot): void {
    this.#database.transaction(this.durability, () => {
      this.#statements.forget.run(snapshot.layer);
      this.#insert(snapshot);
    });
  }

  #insert(
    { layer, name, kind, parent, labels, created = microsecondsNow() }: NewSnapshot,
    on = this.rules.parentId(parent, "invalid argument"),
  ): void {
    const { id } = this.#statements.insert.get(name, kind, on, layer, created, created)!;
    this.#insertLabels(id, labels);
  }

  /**
   * Commits an active snapshot under a name. The change is on disk when it returns.
   *
   * @throws {VeneerError} `already exists`; `failed precondition` if it is not active; `not found`,
   * `failed precondition` or `invalid argument` for the parent
   */
  commit({ id, name: key }: Snapshot, { name, labels, parent = "", layer }: Commit): void {
    if (labels.size > 0) requireSpare(this.#database);
    this.#database.transaction(this.durability, () => {
      if (layer !== undefined) this.#statements.forget.run(layer);
      const active = this.require(key);
      const on = this.rules.checkCommit(active, name, parent);
      const time = Math.max(microsecondsNow(), active.updated + 1);
      this.#statements.commit.run(name, time, time, id);
      if (on !== active.parent || layer !== undefined) {
        this.#statements.rebase.run(on, layer ?? active.layer, id);
      }
      this.#statements.clearLabels.run(id);
      this.#insertLabels(id, labels);
      if (layer !== undefined) this.#statements.reserve.run(active.layer, null, null);
    });
    // A service syncs it in a moment, and does other work before.
    if (this.durability === "in order") this.#database.beginSync();
  }

  /**
   * Replaces a snapshot by an intent to delete its layer.
   *
   * @param durability `in order` only if {@linkcode sync} comes before the layer's deletion
   * @param makeRoom called when the snapshot has no children and can get none until this method
   * returns
   * @throws {VeneerError} `failed precondition` if it has children
   */
  remove(snapshot: Snapshot, durability: Durability = "on disk", makeRoom = () => {}): void {
    this.#database.transaction(durability, () => {
      this.rules.checkChildless(snapshot);
      makeRoom();
      // If a child remains, its records form a circle with this snapshot's; it stays damaged.
      this.#statements.isolate.run(snapshot.id);
      this.#statements.remove.run(snapshot.id);
      this.#statements.reserve.run(snapshot.layer, null, null);
    });
  }

  /** Returns when all earlier changes are on disk, including those by other processes. */
  sync(): void {
    this.#database.sync();
  }

  /**
   * Releases the name and parent that an intent reserves. Returns false if the layer has no intent.
   */
  relinquish(layer: string): boolean {
    const intent = this.intent(layer);
    if (intent === undefined) return false;
    if (intent.name !== null || intent.parent !== null) {
      this.#database.transaction("in order", () => this.#statements.relinquish.run(layer));
    }
    return true;
  }

  /** Removes the intent of a deleted layer. */
  forget(layer: string): void {
    this.#database.transaction("in order", () => this.#statements.forget.run(layer));
  }

  /**
   * Replaces a snapshot's labels. The change is on disk when it returns.
   *
   * @param change gets the current labels and the snapshot's layer; returns the new labels
   * @throws {VeneerError} `not found`; also the errors of `change`
   */
  relabel(name: string, change: (labels: Labels, layer: string) => Labels): SnapshotInfo {
    requireSpare(this.#database);
    return this.#database.transaction(this.durability, () => {
      const { labels, layer } = this.info(name);
      const { id, updated } = this.require(name);
      this.#statements.clearLabels.run(id);
      this.#insertLabels(id, change(labels, layer));
      this.#statements.touch.run(Math.max(microsecondsNow(), updated + 1), id);
      return this.info(name);
    });
  }

  /** Replaces a snapshot's times, in microseconds since 1970. */
  setTimes(name: string, created: number, updated: number): void {
    const { id } = this.require(name);
    this.#database.transaction(
      "in order",
      () => this.#statements.setTimes.run(created, updated, id),
    );
  }

  #insertLabels(id: number, labels: Labels): void {
    for (const [key, value] of labels) this.#statements.insertLabel.run(id, key, value);
  }

  /**
   * Records the space that a committed layer adds. Does nothing if the snapshot no longer exists.
   */
  keepUsage(layer: string, { bytes, inodes }: Usage): void {
    this.#database.transaction("in order", () => this.#statements.count.run(bytes, inodes, layer));
  }
}
