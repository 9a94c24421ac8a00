/**
 * The layout of an aufs home, which is Docker's:
 *
 * ```text
 * layers/<id>   the ids of the layers below, the parent first, one a line; a base layer's is empty
 * diff/<id>     the layer's own files and whiteouts: aufs's writable branch
 * mnt/<id>      its mount point; exists also while it is not mounted
 * ```
 *
 * A layer has three names, and `layers/<id>` is the decisive one: it is created last and removed
 * first. While a layer is created or deleted, an entry is staged under its id, so `diff/<id>`
 * without `layers/<id>` is a layer that lost its record only if there is no staged entry. A layer
 * that is being deleted has the name `<id>-removing`.
 *
 * Any program that once could write to the store may have written these files, so they are checked,
 * and the file at fault is named.
 *
 * @module
 */
import { EBUSY, ENOENT, errnoName } from "../../ffi/errno.ts";
import {
  type ConfinedPath,
  exists,
  isDirectory,
  lchown,
  list,
  makeDirectory,
  removeTree,
  tryRename,
  unwrapConfined,
} from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { isId } from "../../lib/base/ids.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { readMetadata, removeMetadata } from "../../lib/store/metadata.ts";

/** The directories of a home; the first also identifies a store. */
const DIRECTORIES = ["layers", "diff", "mnt"] as const;

/** Those in which each layer has a directory. */
const TREES = ["diff", "mnt"] as const;

/** The suffix of names that are being deleted; no id may end so. */
export const REMOVING = "-removing";

/** The prefix of staged names for layers that another program left half deleted. */
const LEFT = ".left-";

/** The paths and the content of the parts of a home's layers. */
export class Layout {
  constructor(readonly home: Home) {}

  /**
   * Creates the missing directories of the home; container root's group may pass through, only root
   * may list it.
   */
  make({ gids }: IdMaps): void {
    for (const name of DIRECTORIES) {
      const path = this.home.join(name);
      if (makeDirectory(path, 0o710)) lchown(path, 0, gids.root);
    }
    makeDirectory(this.home.own("mounting"), 0o700);
  }

  record(id: string): ConfinedPath {
    return this.home.join("layers", id);
  }
  diff(id: string): ConfinedPath {
    return this.home.join("diff", id);
  }
  mountPoint(id: string): ConfinedPath {
    return this.home.join("mnt", id);
  }

  /** A mark that is there while a layer is mounted by several calls; a killed process leaves it. */
  mounting(id: string): ConfinedPath {
    return this.home.own("mounting", id);
  }

  isMounting(id: string): boolean {
    return exists(this.mounting(id));
  }

  /** Every id with a record, and with files that lost theirs. */
  list(): string[] {
    const recorded = this.#ids("layers");
    const known = new Set(recorded);
    return [...recorded, ...this.#ids("diff").filter((id) => !known.has(id) && this.exists(id))];
  }

  /** How many records there are, as Docker's status counts them. */
  count(): number {
    return this.#ids("layers").length;
  }

  #ids(directory: string): string[] {
    return list(this.home.join(directory)).filter((name) => isId(name) && !name.endsWith(REMOVING));
  }

  exists(id: string): boolean {
    if (id.endsWith(REMOVING)) return false;
    if (this.isRecorded(id)) return true;
    // Asked twice: between the two a layer may have been begun.
    return !this.home.isStaged(id) && exists(this.diff(id)) && !this.home.isStaged(id);
  }

  isRecorded(id: string): boolean {
    return exists(this.record(id));
  }

  /**
   * The ids of the layers below a layer, its parent first; `undefined` without a record.
   *
   * @throws {VeneerError} `corrupt store` if the record holds anything but ids, each of them once
   */
  chain(id: string): string[] | undefined {
    const text = readMetadata(this.record(id));
    if (text === undefined) return undefined;
    const ids = text.split("\n").filter((line) => line !== "");
    const seen = new Set([id]);
    for (const ancestor of ids) {
      if (!isId(ancestor)) {
        throw corrupt(this.record(id), `holds ${quote(ancestor)}, which is not a layer id`);
      }
      if (seen.has(ancestor)) {
        throw corrupt(this.record(id), `names layer ${ancestor} a second time`);
      }
      seen.add(ancestor);
    }
    return ids;
  }

  /**
   * The same, all of them there.
   *
   * @throws {VeneerError} `corrupt store` if the files of one are gone
   */
  ancestors(id: string): string[] {
    const ancestors = this.chain(id) ?? [];
    const gone = ancestors.find((ancestor) => !isDirectory(this.diff(ancestor)));
    if (gone === undefined) return ancestors;
    throw corrupt(this.record(id), `names layer ${gone}, and ${this.diff(gone)} does not exist`);
  }

  /** @throws {VeneerError} `corrupt store` if the layer's record is gone */
  requireRecord(id: string): void {
    if (this.isRecorded(id)) return;
    throw corrupt(this.record(id), `is missing; remove layer ${id} and create it again`);
  }

  /** @throws {VeneerError} `corrupt store` if the layer's own files are gone */
  requireDiff(id: string): void {
    const path = this.diff(id);
    if (isDirectory(path)) return;
    const what = exists(path) ? "is not a directory" : "is missing";
    throw corrupt(path, `${what}; remove layer ${id} and create it again`);
  }

  /** Deletes the parts of a layer without a record, each renamed away first. */
  removeTrees(id: string): void {
    removeMetadata(this.mounting(id), false);
    for (const tree of TREES) {
      const path = this.home.join(tree, id), removing = path.withSuffix(REMOVING);
      // The rest of an earlier, unfinished removal of this id.
      removeTree(removing);
      const result = tryRename(path, removing);
      if (result === -ENOENT) continue;
      unwrapConfined(result, "rename", path);
      removeTree(removing);
    }
  }

  /**
   * Stages layers that another program left half deleted, under names that are not ids, so that the
   * sweep deletes them. If an entry is staged under the id itself, a process of Veneer's is
   * deleting it.
   *
   * @param warn gets a line about each that cannot be moved
   */
  stageLeftovers(warn: Warn): void {
    for (const tree of TREES) {
      for (const name of list(this.home.join(tree)).filter((name) => name.endsWith(REMOVING))) {
        if (this.home.isStaged(name.slice(0, -REMOVING.length))) continue;
        const path = this.home.join(tree, name);
        const staged = this.home.staging(LEFT + crypto.randomUUID());
        const result = tryRename(path, staged);
        if (result === 0 || result === -ENOENT) continue;
        const why = result === -EBUSY ? "it is a mount point; unmount it" : errnoName(-result);
        warn(`${path} is left from a removal and is not deleted: ${why}`);
      }
    }
  }

  /**
   * Checks that the place of a new layer is free. An empty mount point of an earlier layer is
   * accepted; files in it would be deleted with the layer.
   *
   * @throws {VeneerError} `corrupt store` if it is not empty
   */
  requireFree(id: string): void {
    if (list(this.mountPoint(id)).length === 0) return;
    throw corrupt(this.mountPoint(id), "is not empty; move its content elsewhere");
  }
}

function corrupt(path: ConfinedPath, what: string): VeneerError {
  return new VeneerError("corrupt store", `${path} ${what}`);
}

const quote = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
