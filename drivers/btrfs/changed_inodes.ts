/**
 * The suspects of two subvolumes, found in a time that grows with the changes, not with the trees.
 *
 * The child is a snapshot of the parent. Since then, an entry can only have become another one in
 * these ways, each of which leaves its mark in one of the two trees (`ffi/btrfs_changes.ts`):
 * - Its inode was changed: then that has a newer transaction, and the entry is found by its names.
 * - Its name was given to an inode: then the name has a newer transaction in its directory.
 * - Its name was removed: then its directory was changed, and its names are compared
 *   (`suspects.ts`).
 *
 * The marks are only read as numbers of inodes and names of directories. A directory's place in its
 * tree is looked up once, however many entries in it and however many levels above it are suspects.
 *
 * @module
 */
import { type ChangedInode, changedSince, hasSameExtents } from "../../ffi/btrfs_changes.ts";
import { type InodeName, inodeNames } from "../../ffi/btrfs_search.ts";
import { BTRFS_FIRST_FREE_OBJECTID } from "../../ffi/btrfs_subvolume.ts";
import { Suspect, type Suspects } from "./suspects.ts";

/**
 * The most marks that are followed: a new file has two, a changed one has one. Each keeps some 200
 * bytes. To compare the trees takes the time of as many marks for two to five times as many
 * entries, and constant memory.
 */
export const MARKS_LIMIT = 200_000;

/**
 * The suspects of a parent and its child, both open.
 *
 * @param created the transaction in which the child was made
 * @returns `undefined` if there are more marks than `limit`
 */
export function suspectsOf(
  parent: number,
  child: number,
  created: bigint,
  limit = MARKS_LIMIT,
): Suspects | undefined {
  const root = new Suspect(), made = new Set<bigint>(), changedInParent = new Set<bigint>();
  let count = 0;
  for (const subvolume of [parent, child]) {
    const places = new Places(subvolume, root), isChild = subvolume === child;
    for (const found of changedSince(subvolume, created)) {
      count += found.kind === "name" ? 1 : Math.max(1, found.names.length);
      if (count > limit) return undefined;
      if (found.kind === "name") {
        markName(places.at(found), isChild);
        continue;
      }
      markInode(places, found, isChild);
      if (found.isNew) made.add(found.inode);
      if (!isChild) changedInParent.add(found.inode);
    }
  }
  return {
    root,
    isReused: (inode) => made.has(inode),
    // The parent's own changes may not be on disk yet.
    hasSameData: (inode) => !changedInParent.has(inode) && hasSameExtents(parent, child, inode),
  };
}

function markName(suspect: Suspect | undefined, isChild: boolean): void {
  if (suspect === undefined) return;
  suspect.suspected = true;
  suspect.isAdded ||= isChild;
}

function markInode(places: Places, found: ChangedInode, isChild: boolean): void {
  const { inode, isNew, isDirectory, names } = found;
  if (!isDirectory) {
    for (const name of names) markName(places.at(name), false);
    return;
  }
  const suspect = places.directory(inode, names[0]);
  if (suspect === undefined) return;
  suspect.suspected = true;
  if (isNew) return;
  if (!isChild) suspect.changed = "both";
  else if (suspect.changed === "no") suspect.changed = "child";
}

/** The places of a subvolume's directories among the suspects. */
class Places {
  readonly #directories = new Map<bigint, Suspect>();

  constructor(readonly subvolume: number, root: Suspect) {
    this.#directories.set(BTRFS_FIRST_FREE_OBJECTID, root);
  }

  /** The suspect of a name; `undefined` if its directory was removed and is still open. */
  at({ directory, name }: InodeName): Suspect | undefined {
    return this.directory(directory)?.at(name);
  }

  /** The suspect of a directory, which has one name. @param own its name, if that is known */
  directory(inode: bigint, own?: InodeName): Suspect | undefined {
    const known = this.#directories.get(inode);
    if (known !== undefined) return known;
    // The directories on the way up, each with its name.
    const way = new Map<bigint, string>();
    let place: Suspect | undefined;
    for (let at = inode; (place = this.#directories.get(at)) === undefined;) {
      const [found] = at === inode && own !== undefined ? [own] : inodeNames(this.subvolume, at);
      if (found === undefined || way.has(at)) return undefined;
      way.set(at, found.name);
      at = found.directory;
    }
    for (const [at, name] of [...way].reverse()) {
      place = place.at(name);
      this.#directories.set(at, place);
    }
    return place;
  }
}
