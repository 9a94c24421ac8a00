/**
 * Layers that no snapshot has, or not yet: making one with its record, deleting one after its record, and
 * finishing what a process that was killed in between has left. `snapshots.ts` tells the rules.
 *
 * @module
 */
import { messageOf, reworded, type VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { RunState } from "../store/run_state.ts";
import type { SnapshotBackend } from "./backend.ts";
import type { Leftovers } from "./snapshotter.ts";
import { beingMade, type Store } from "./store.ts";

/** What they are carried out with. */
export interface IntentsContext {
  readonly store: Store;
  readonly state: RunState;
  readonly backend: SnapshotBackend;
  /** Told, in one line, what was not deleted. */
  readonly warn: Warn;
}

/** How long a layer that could not be deleted is left alone by {@linkcode Intents.deleteDoomed}, in milliseconds. */
const RETRY_PAUSE = 1000;

/** Told of a layer that was not deleted. */
type Failed = (error: VeneerError, layer: string) => void;

export class Intents {
  readonly #context: IntentsContext;
  /** What was said of layers that could not be deleted: each thing is said once. */
  readonly #told = new Set<string>();
  /** Layers that could not be deleted, and when they are tried again, by `performance.now()`. */
  readonly #stuck = new Map<string, number>();

  constructor(context: IntentsContext) {
    this.#context = context;
  }

  /**
   * Makes a layer for a name; the layer is locked. If that fails, there is neither it nor an
   * intent.
   *
   * @param parent that it is made on, `""` for none
   * @param make makes the layer and then its record
   * @throws {VeneerError} as {@linkcode Store.reserve}
   */
  make<T>(layer: string, name: string, parent: string, make: () => T): T {
    const { store } = this.#context;
    this.claim(name);
    this.#finish(layer);
    store.reserve(layer, name, parent);
    try {
      return make();
    } catch (error) {
      this.tryToFinish(layer);
      throw error;
    }
  }

  /** Takes a name from a dead process. @throws {VeneerError} `already exists` if it is alive */
  claim(name: string): void {
    const { store } = this.#context;
    const layer = store.reservedFor(name);
    if (layer === undefined) return;
    this.finishDead(layer);
    if (store.reservedFor(name) !== undefined) throw beingMade(name);
  }

  /**
   * Finishes every layer that nobody works on; returns what was done.
   *
   * @param failed told of each layer that stays; if it is left out, a warning says so, once
   */
  sweep(failed?: Failed): string[] {
    if (this.#context.backend.home.isReadOnly) return [];
    return this.#context.store.intents().filter((layer) => this.finishDead(layer, failed))
      .map((layer) => `deleted layer ${layer} of a snapshot that was removed or never finished`);
  }

  /**
   * The same, and waits for others that are at deleting a layer: nothing that was removed before the call is on
   * disk after it, but for what `failed` is told.
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
   * Leaves layers that killed processes were making to be deleted, so that their names are free.
   *
   * @returns whether there are layers to be deleted
   */
  abandonDead(): boolean {
    const { store, state, backend } = this.#context;
    if (backend.home.isReadOnly) return false;
    const doomed = new Set(store.doomed());
    for (const layer of store.intents().filter((layer) => !doomed.has(layer))) {
      using lock = state.tryLockLayer(layer);
      if (lock !== undefined) store.relinquish(layer);
    }
    return store.doomed().length > 0;
  }

  /**
   * Deletes layers that are there for nothing else, one after the other.
   *
   * @param isEnough is asked before each
   */
  deleteDoomed(isEnough: () => boolean): Leftovers {
    const doomed = this.#context.store.doomed();
    const isStuck = (layer: string) => (this.#stuck.get(layer) ?? 0) > performance.now();
    let stuck = 0;
    for (const layer of doomed) {
      if (isStuck(layer)) stuck++;
      else if (isEnough()) return "more";
      else if (this.finishDead(layer)) this.#stuck.delete(layer);
      else {
        this.#stuck.set(layer, performance.now() + RETRY_PAUSE);
        stuck++;
      }
    }
    if (stuck === 0) this.#stuck.clear();
    return stuck === 0 ? "none" : "stuck";
  }

  /**
   * Deletes layers that neither a snapshot nor an intent has.
   *
   * @param found on disk before anything else was looked at
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
      return this.#attempt(layer, () => backend.remove(layer), failed);
    }).map((layer) => `deleted layer ${layer}, which belonged to no snapshot`);
  }

  /**
   * Finishes what is intended with a layer, unless somebody works on it; false if nothing was done.
   */
  finishDead(layer: string, failed?: Failed): boolean {
    return this.#attempt(layer, () => {
      using lock = this.#context.state.tryLockLayer(layer);
      return lock !== undefined && this.#finish(layer);
    }, failed);
  }

  /** The same for a layer that is locked. What cannot be deleted is said in a warning, and left to `cleanup`. */
  tryToFinish(layer: string): boolean {
    return this.#attempt(layer, () => this.#finish(layer));
  }

  #finish(layer: string): boolean {
    const { store, backend } = this.#context;
    // First, so that neither a name nor a parent waits for a layer that cannot be deleted.
    if (!store.relinquish(layer)) return false;
    backend.remove(layer);
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
