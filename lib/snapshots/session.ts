/**
 * An open database of snapshots, and the locks on the layers of its snapshots.
 *
 * @module
 */
import type { SyncMode } from "../base/sync_mode.ts";
import type { Warn } from "../base/warn.ts";
import type { RunState } from "../store/run_state.ts";
import { tryHoldToChange } from "../store/service_hold.ts";
import type { SnapshotBackend } from "./backend.ts";
import { Intents } from "./intents.ts";
import { checkKey } from "./keys.ts";
import { openStore } from "./open_store.ts";
import type { Snapshot } from "./records.ts";
import type { Store } from "./store.ts";

/**
 * The purpose of opening a store:
 * - `change`: refused while a service holds the store. Until it is closed, no service can hold the
 *   store;
 * - `read`: possible beside a service as well, which then finishes the work of interrupted
 *   processes;
 * - `serve`: for the service that holds the store (`service_hold.ts`).
 */
export type Purpose = "change" | "read" | "serve";

/** The parts and settings of a session. */
export interface SessionContext {
  readonly backend: SnapshotBackend;
  readonly state: RunState;
  readonly warn: Warn;
  readonly purpose: Purpose;
  /** See `SnapshotsContext`. */
  readonly sync: SyncMode;
  readonly later?: () => void;
}

/** A snapshot whose layer is locked until disposal. */
export interface Held extends Disposable {
  readonly snapshot: Snapshot;
}

/** An open database. */
export class Session implements Disposable {
  readonly store: Store;
  readonly intents: Intents;
  readonly #context: SessionContext;

  /**
   * Opens a database, creating it if it is missing, and finishes the work of killed processes.
   *
   * @throws {VeneerError} `corrupt store` if there are layers but no database, or if the database
   * is damaged; `incompatible` if it is another program's or of a newer version
   */
  constructor(context: SessionContext) {
    const { backend, state, warn, sync, later } = this.#context = context;
    const store = this.store = openStore(backend, state, warn);
    // A service answers at once, and syncs the records afterwards (`log_sync.ts`).
    if (later !== undefined && sync !== "filesystem") store.durability = "in order";
    this.intents = new Intents({ store, state, backend, warn });
    try {
      this.#finishInterrupted();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Finishes the work of killed processes, unless a service does that. */
  #finishInterrupted(): void {
    const { purpose, later, state } = this.#context;
    if (later !== undefined) {
      if (this.intents.abandonDead()) later();
      return;
    }
    using hold = purpose === "read" ? tryHoldToChange(state) : undefined;
    if (purpose === "change" || hold !== undefined) this.intents.sweep();
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
  }

  /** Locks a snapshot's layer. @throws {VeneerError} `not found` */
  hold(key: string): Held {
    checkKey(key);
    for (;;) {
      const { layer } = this.store.require(key);
      const lock = this.#context.state.lockLayer(layer);
      // During the wait the snapshot may have been removed and created again.
      const snapshot = this.store.find(key);
      if (snapshot?.layer === layer) {
        return { snapshot, [Symbol.dispose]: () => lock[Symbol.dispose]() };
      }
      lock[Symbol.dispose]();
    }
  }

  /**
   * Locks a snapshot for a commit. After a concurrent commit of the same key under the same name,
   * the error is that the name exists.
   */
  holdForCommit(name: string, key: string): Held {
    try {
      return this.hold(key);
    } catch (error) {
      this.store.rules.checkFree(name);
      throw error;
    }
  }
}
