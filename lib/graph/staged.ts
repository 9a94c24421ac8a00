/**
 * The staging directory: layers that are being created or removed.
 *
 * An entry is deleted by the holder of the lock of its name: the process that put it there or, if
 * that was killed, the next one that finds it. An entry that cannot be deleted, because of a mount
 * in it or an error of the disk, is warned of once. It is renamed to a name that is not an id, so
 * that its id is free again.
 *
 * @module
 */
import { forgetContent } from "../store/content_records.ts";
import { RENAME_NOREPLACE } from "../../ffi/names.ts";
import { tryRename } from "../tree/confined.ts";
import { codeOf, messageOf, reworded, VeneerError } from "../base/errors.ts";
import type { LayerBackend } from "./backend.ts";
import { forgetIdMaps } from "../store/id_map_records.ts";
import { isId } from "../base/ids.ts";
import type { Warn } from "../base/warn.ts";
import { isMountPoint } from "../mount/mountinfo.ts";
import type { RunState } from "../store/run_state.ts";
import type { Children, FoundChildren } from "./children.ts";

/** The prefix of entries that could not be deleted; no id begins with a dot. */
const LEFT = ".left-";

/** Options of {@linkcode Staged.finish}. */
export interface FinishOptions {
  /** As for {@linkcode Staged.sweep}. */
  readonly failed?: (error: VeneerError) => void;
  /** Whether the caller has the store's lock, too. */
  readonly hasStore?: boolean;
  /** Whether {@linkcode Staged.tellParent} was called. */
  readonly isParentTold?: boolean;
}

/** The staging directory of one store. */
export class Staged {
  /** Staged names that could not be deleted and were warned of. */
  readonly #failures = new Map<string, VeneerError>();

  constructor(
    readonly backend: LayerBackend,
    readonly state: RunState,
    readonly children: Children,
    readonly warn: Warn,
  ) {}

  /**
   * Deletes all entries that no process works on; returns a line for each.
   *
   * @param failed gets the reason for each entry that stays; without it, one warning is given
   */
  sweep(failed?: (error: VeneerError) => void): string[] {
    const { home } = this.backend;
    const done: string[] = [];
    if (home.isReadOnly) return done;
    for (const name of home.staged()) {
      try {
        using lock = this.state.tryLockLayer(name);
        if (lock === undefined || !home.isStaged(name)) continue;
        if (this.finish(name, { failed }) && isId(name)) {
          done.push(`finished the removal of layer ${name}`);
        }
      } catch (error) {
        this.#tell(name, error, failed);
      }
    }
    return done;
  }

  /**
   * Deletes the entry staged under a name, which the caller has locked. Records of a removed layer
   * are deleted first, while the staged entry is still a reminder of them.
   *
   * @returns false if it stays
   */
  finish(name: string, { failed, hasStore, isParentTold }: FinishOptions = {}): boolean {
    if (this.backend.home.isReadOnly) return false;
    try {
      if (!isParentTold) {
        using _store = hasStore ? undefined : this.#lockStore();
        this.#uncommitParent(name, () => this.children.look());
      }
      this.#dispose(name);
      this.#failures.delete(name);
      return true;
    } catch (error) {
      this.#leave(name, error, failed);
      return false;
    }
  }

  /**
   * @throws {VeneerError} the reason, if an entry under an id could be neither deleted nor renamed
   */
  requireFree(id: string): void {
    if (!this.backend.home.isStaged(id)) return;
    const failure = this.#failures.get(id);
    throw new VeneerError(
      failure?.code ?? "in use",
      `layer ${id}: ${
        failure?.message ?? `${this.backend.home.staging(id)} is in the way; remove it`
      }`,
      { remedy: failure?.remedy },
    );
  }

  /**
   * Makes the parent of a layer that was just staged writable again, if it has no child any more.
   *
   * @param found the look at the layers, since when the store was locked
   * @returns false if that failed and must be tried again
   */
  tellParent(name: string, found: FoundChildren): boolean {
    try {
      this.#uncommitParent(name, () => found);
      return true;
    } catch {
      return false;
    }
  }

  #uncommitParent(name: string, look: () => FoundChildren): void {
    this.backend.uncommitParent?.(name, (parent) => look().has(parent));
  }

  /** Only if there is a parent to change. */
  #lockStore(): Disposable | undefined {
    return this.backend.uncommitParent && this.state.lockStore();
  }

  #dispose(name: string): void {
    const { backend } = this;
    if (!backend.exists(name)) {
      backend.home.forget(name);
      forgetIdMaps(backend.home, name);
      forgetContent(backend.home, name);
    }
    backend.dispose(name);
  }

  #leave(name: string, error: unknown, failed?: (error: VeneerError) => void): void {
    const place = this.#setAside(name);
    const failure = place === name ? error : this.#failureOf(place, name, error);
    // Otherwise it was deleted, under its new name.
    if (failure !== undefined) this.#tell(place, failure, failed);
  }

  #tell(place: string, failure: unknown, failed?: (error: VeneerError) => void): void {
    const path = this.backend.home.staging(place).text;
    const told = this.#failures.get(place);
    const found = isMountPoint(path)
      ? new VeneerError("in use", `${path} is not deleted: it is a mount point; unmount it first`)
      : notDeleted(path, failure);
    this.#failures.set(place, found);
    if (failed !== undefined) failed(found);
    else if (told?.message !== found.message) this.warn(found.message);
  }

  /** Renames it to a name that is not an id; returns its name afterwards. */
  #setAside(name: string): string {
    const { backend } = this;
    if (!backend.movesStaged || !isId(name)) return name;
    const place = `${LEFT}${name}-${crypto.randomUUID().slice(0, 8)}`;
    const { home } = backend;
    const result = tryRename(home.staging(name), home.staging(place), RENAME_NOREPLACE);
    return result < 0 ? name : place;
  }

  /**
   * The reason why it is not deleted under its new name, worded with that name. A directory that is
   * in use is not tried again at once.
   */
  #failureOf(place: string, name: string, error: unknown): unknown {
    if (codeOf(error) === "in use") {
      const [before, now] = [name, place].map((name) => this.backend.home.staging(name).text);
      return reworded(error, messageOf(error).replaceAll(before, now));
    }
    try {
      this.#dispose(place);
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

function notDeleted(path: string, failure: unknown): VeneerError {
  const reason = messageOf(failure);
  const message = reason.includes(path) ? reason : `${path} is not deleted: ${reason}`;
  return reworded(failure, message);
}
