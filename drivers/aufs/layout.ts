/**
 * The layout of an aufs home, which is Docker's:
 *
 * ```text
 * layers/<id>   the ids of the layers below, the parent first, one a line; a base layer's is empty
 * diff/<id>     the layer's own files and whiteouts: aufs's writable branch
 * mnt/<id>      its mount point; exists also while it is not mounted
 * ```
 *
 * A layer has three names, and exists if it has `layers/<id>`, which is created last and removed
 * first. While a layer is created or deleted, an entry is staged under its id. So `diff/<id>`
 * without `layers/<id>` is a layer that lost its record, if there is no staged entry. Directories
 * that are being deleted are named `<id>-removing`.
 *
 * Any program that could ever write to the store may have written these files, so they are checked,
 * and errors name the bad file.
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

/** The directories of a home. A home with the first one is a store. */
const DIRECTORIES = ["layers", "diff", "mnt"] as const;

/** The ones in which each layer has a directory. */
const TREES = ["diff", "mnt"] as const;

/** The suffix of directories that are being deleted; no id may end with it. */
export const REMOVING = "-removing";

/** The prefix of staged directories that another program left half deleted. */
const LEFT = ".left-";

/** The paths of a home's layers, and their records. */
export class Layout {
  constructor(readonly home: Home) {}

  /**
   * Creates the missing directories of the home. Container root's group may enter them; only root
   * may list them.
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

  /** A mark that exists while a layer is mounted by several calls. A killed process leaves it. */
  mounting(id: string): ConfinedPath {
    return this.home.own("mounting", id);
  }

  isMounting(id: string): boolean {
    return exists(this.mounting(id));
  }

  /** The ids of all layers, including those that lost their record. */
  list(): string[] {
    const recorded = this.#ids("layers");
    const known = new Set(recorded);
    return [...recorded, ...this.#ids("diff").filter((id) => !known.has(id) && this.exists(id))];
  }

  /** The number of records, which Docker's status shows as well. */
  count(): number {
    return this.#ids("layers").length;
  }

  #ids(directory: string): string[] {
    return list(this.home.join(directory)).filter((name) => isId(name) && !name.endsWith(REMOVING));
  }

  exists(id: string): boolean {
    if (id.endsWith(REMOVING)) return false;
    if (this.isRecorded(id)) return true;
    // Checked twice: another process may have begun to make the layer in between.
    return !this.home.isStaged(id) && exists(this.diff(id)) && !this.home.isStaged(id);
  }

  isRecorded(id: string): boolean {
    return exists(this.record(id));
  }

  /**
   * The ids of the layers below a layer, its parent first; `undefined` if it has no record.
   *
   * @throws {VeneerError} `corrupt store` if the record contains other text than ids, or an id
   * twice
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
   * The same, with a check that their files exist; empty if the layer has no record.
   *
   * @throws {VeneerError} `corrupt store` if the directory of one is missing
   */
  ancestors(id: string): string[] {
    const ancestors = this.chain(id) ?? [];
    const gone = ancestors.find((ancestor) => !isDirectory(this.diff(ancestor)));
    if (gone === undefined) return ancestors;
    throw corrupt(this.record(id), `names layer ${gone}, and ${this.diff(gone)} does not exist`);
  }

  /** @throws {VeneerError} `corrupt store` if the layer's record is missing */
  requireRecord(id: string): void {
    if (this.isRecorded(id)) return;
    throw corrupt(this.record(id), `is missing; remove layer ${id} and create it again`);
  }

  /** @throws {VeneerError} `corrupt store` if the layer's own directory is missing */
  requireDiff(id: string): void {
    const path = this.diff(id);
    if (isDirectory(path)) return;
    const what = exists(path) ? "is not a directory" : "is missing";
    throw corrupt(path, `${what}; remove layer ${id} and create it again`);
  }

  /** Deletes the directories of a layer without a record. Each is renamed first. */
  removeTrees(id: string): void {
    removeMetadata(this.mounting(id), false);
    for (const tree of TREES) {
      const path = this.home.join(tree, id), removing = path.withSuffix(REMOVING);
      // It may be left from an interrupted removal of this id.
      removeTree(removing);
      const result = tryRename(path, removing);
      if (result === -ENOENT) continue;
      unwrapConfined(result, "rename", path);
      removeTree(removing);
    }
  }

  /**
   * Stages directories that another program left half deleted, under names that are not ids, so
   * that they are deleted like Veneer's own. If an entry is staged under the id itself, a process
   * of Veneer's is deleting the layer.
   *
   * @param warn gets a line about each one that cannot be moved
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
   * Checks that the mount point of a new layer is missing or empty. Files in it would be deleted
   * with the layer.
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
