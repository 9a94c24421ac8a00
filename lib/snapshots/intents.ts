/**
 * Layers without a snapshot. A layer is created before its record and deleted after its record; if
 * a process is killed in between, the work is finished here. `snapshots.ts` explains the rules.
 *
 * @module
 */
import { forgetContent } from "../store/content_records.ts";
import { codeOf, messageOf, reworded, type VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { RunState } from "../store/run_state.ts";
import type { LayerChain, SnapshotBackend } from "./backend.ts";
import type { NewSnapshot } from "./records.ts";
import type { Leftovers } from "./snapshotter.ts";
import { beingMade } from "./rules.ts";
import type { Store } from "./store.ts";

/** The parts of a store that intents need. */
export interface IntentsContext {
  readonly store: Store;
  readonly state: RunState;
  readonly backend: SnapshotBackend;
  /** Gets a line about each layer that was not deleted. */
  readonly warn: Warn;
}

/**
 * The time before {@linkcode Intents.deleteDoomed} tries again to delete a layer, in milliseconds.
 */
const RETRY_PAUSE = 1000;

/** Gets the reason why a layer was not deleted. */
type Failed = (error: VeneerError, layer: string) => void;

export class Intents {
  readonly #context: IntentsContext;
  /** The warnings about layers that could not be deleted, so that each is given once. */
  readonly #told = new Set<string>();
  /**
   * The layers that could not be deleted, with the time of the next try on the clock of
   * `performance.now()`.
   */
  readonly #stuck = new Map<string, number>();

  constructor(context: IntentsContext) {
    this.#context = context;
  }

  /**
   * Creates a layer for a name. The caller holds the layer's lock. After a failure neither the
   * layer nor an intent remains.
   *
   * @param parent the committed snapshot to build on; `""` for none
   * @param make creates the layer and then its record
   * @throws {VeneerError} as {@linkcode Store.reserve}
   */
  make<T>(layer: string, name: string, parent: string, make: () => T): T {
    this.#reserve(layer, name, parent);
    try {
      return make();
    } catch (error) {
      this.tryToFinish(layer);
      throw error;
    }
  }

  /**
   * The same without an intent, in one transaction instead of two. If the process is killed, the
   * file of the layer's lock remains and tells of the layer ({@linkcode doomLost}).
   *
   * Nothing is reserved meanwhile: `make` fails if the name is taken or the parent removed before
   * it records the snapshot.
   *
   * @param make gets the chain of the snapshot's layer; creates the layer and then its record
   */
  makeByLock<T>(snapshot: NewSnapshot, make: (chain: LayerChain) => T): T {
    const { store } = this.#context, { layer, name, parent } = snapshot;
    const chain = this.#claiming(layer, name, () => store.chainOfNew(snapshot));
    try {
      return make(chain);
    } catch (error) {
      if (!this.#attempt(layer, () => this.#remove(layer))) store.doom(layer);
      store.rules.checkParent(parent); // Its removal may be the reason.
      throw error;
    }
  }

  #reserve(layer: string, name: string, parent: string): void {
    this.#claiming(layer, name, () => this.#context.store.reserve(layer, name, parent));
  }

  /**
   * Does something with a layer and a name, which are usually free. Only if one is not, intents of
   * dead processes are finished first.
   */
  #claiming<T>(layer: string, name: string, use: () => T): T {
    try {
      return use();
    } catch (error) {
      if (codeOf(error) !== "already exists") throw error;
    }
    this.claim(name);
    this.#finish(layer);
    return use();
  }

  /**
   * Marks layers for deletion that killed processes were making by {@linkcode makeByLock}. Only a
   * boot in between forgets them; then they belong to nothing, and `cleanup` deletes them.
   */
  doomLost(): void {
    const { store, state } = this.#context;
    for (const layer of state.lockedLayers().filter((layer) => !store.hasLayer(layer))) {
      this.#attempt(layer, () => {
        using lock = state.tryLockLayer(layer);
        if (lock?.references.count === 0) store.doom(layer);
      });
    }
  }

  /**
   * Releases a name that a dead process has reserved.
   *
   * @throws {VeneerError} `already exists` if the process is alive
   */
  claim(name: string): void {
    const { store } = this.#context;
    const layer = store.reservedFor(name);
    if (layer === undefined) return;
    this.finishDead(layer);
    if (store.reservedFor(name) !== undefined) throw beingMade(name);
  }

  /**
   * Finishes the intents of dead processes; returns a line for each.
   *
   * @param failed gets the reason for each layer that stays; by default there is a warning
   */
  sweep(failed?: Failed): string[] {
    if (this.#context.backend.home.isReadOnly) return [];
    this.doomLost();
    return this.#context.store.intents().filter((layer) => this.finishDead(layer, failed))
      .map((layer) => `deleted layer ${layer} of a snapshot that was removed or never finished`);
  }

  /**
   * The same, and waits for other processes that are deleting layers. Afterwards no layer removed
   * before the call is on disk, except those passed to `failed`.
   */
  sweepAll(failed?: Failed): string[] {
    const stuck = new Set<string>(), { store, state } = this.#context;
    const done = this.sweep((error, layer) => {
      stuck.add(layer);
      (failed ?? this.#tellOnce)(error, layer);
    });
    for (const layer of store.doomed().filter((layer) => !stuck.has(layer))) {
      this.#attempt(layer, () => {
        using _lock = state.lockLayer(layer);
        return this.#finish(layer);
      }, failed);
    }
    return done;
  }

  /**
   * Marks unfinished layers of killed processes for deletion, so that their names become free.
   *
   * @returns whether there are layers to delete
   */
  abandonDead(): boolean {
    const { store, state, backend } = this.#context;
    if (backend.home.isReadOnly) return false;
    this.doomLost();
    const doomed = new Set(store.doomed());
    for (const layer of store.intents().filter((layer) => !doomed.has(layer))) {
      using lock = state.tryLockLayer(layer);
      if (lock !== undefined) store.relinquish(layer);
    }
    return store.doomed().length > 0;
  }

  /**
   * Deletes the layers that are marked for deletion, one after the other.
   *
   * @param isEnough called before each layer; returns true to stop
   */
  deleteDoomed(isEnough: () => boolean): Leftovers {
    const { store } = this.#context;
    const doomed = store.doomed();
    if (doomed.length > 0) store.sync();
    const isStuck = (layer: string) => (this.#stuck.get(layer) ?? 0) > performance.now();
    let stuck = 0;
    for (const layer of doomed) {
      if (isStuck(layer)) stuck++;
      else if (isEnough()) return "more";
      else if (this.finishDead(layer, undefined, true)) this.#stuck.delete(layer);
      else {
        this.#stuck.set(layer, performance.now() + RETRY_PAUSE);
        stuck++;
      }
    }
    if (stuck === 0) this.#stuck.clear();
    return stuck === 0 ? "none" : "stuck";
  }

  /**
   * Deletes layers that belong to neither a snapshot nor an intent.
   *
   * @param found the layers on disk, listed before the records were read
   * @param failed as for {@linkcode sweep}
   */
  deleteOrphans(found: readonly string[], failed?: Failed): string[] {
    const { store, state, backend } = this.#context;
    const known = store.layers();
    return found.filter((layer) => {
      if (known.has(layer)) return false;
      using lock = state.tryLockLayer(layer);
      if (lock === undefined || store.hasLayer(layer)) return false;
      if (!backend.list().includes(layer)) return false; // Another process was faster.
      return this.#attempt(layer, () => this.#remove(layer), failed);
    }).map((layer) => `deleted layer ${layer}, which belonged to no snapshot`);
  }

  /**
   * Finishes a layer's intent, unless a process is working on the layer. Returns false if nothing
   * was done.
   *
   * @param isSynced whether the intent is known to be on disk
   */
  finishDead(layer: string, failed?: Failed, isSynced = false): boolean {
    return this.#attempt(layer, () => {
      using lock = this.#context.state.tryLockLayer(layer);
      return lock !== undefined && this.#finish(layer, isSynced);
    }, failed);
  }

  /**
   * The same for a layer whose lock the caller holds. If the layer cannot be deleted, there is a
   * warning, and `cleanup` tries again.
   */
  tryToFinish(layer: string): boolean {
    return this.#attempt(layer, () => this.#finish(layer));
  }

  #remove(layer: string): void {
    const { backend } = this.#context;
    backend.remove(layer);
    forgetContent(backend.home, layer);
  }

  #finish(layer: string, isSynced = false): boolean {
    const { store, backend } = this.#context;
    // This comes first, so that a layer that cannot be deleted does not keep its name and its
    // parent reserved.
    if (!store.relinquish(layer)) return false;
    // A power failure must not bring back the record of a snapshot whose layer was deleted.
    if (!isSynced) store.sync();
    this.#remove(layer);
    const { home } = backend;
    if (home.isIncomplete(layer)) home.markComplete(layer, false);
    store.forget(layer);
    return true;
  }

  #attempt(layer: string, remove: () => boolean | void, failed: Failed = this.#tellOnce): boolean {
    try {
      return remove() ?? true;
    } catch (error) {
      const message = `layer ${layer} was not deleted; the next cleanup tries again: ${
        messageOf(error)
      }`;
      failed(reworded(error, message), layer);
      return false;
    }
  }

  readonly #tellOnce = ({ message }: VeneerError): void => {
    if (!this.#told.has(message)) this.#context.warn(message);
    this.#told.add(message);
  };
}
