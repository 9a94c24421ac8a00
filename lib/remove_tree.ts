/**
 * Deleting a tree of files: whatever was unpacked into it, never anything outside.
 *
 * Everything goes by descriptor and single name; no path is ever put together, no link followed, and no
 * mount entered. A tree may be deeper than there are descriptors: below {@linkcode MAX_OPEN} levels a
 * subdirectory is moved up to the root of the tree and deleted from there. Files marked immutable or
 * append-only lose the mark first.
 *
 * A tree that others change meanwhile is deleted as far as it is found; to be safe from being left behind,
 * move it out of their sight first.
 *
 * @module
 */
import { DT_DIR, DT_UNKNOWN, type Entry, readSomeEntries } from "../ffi/directory.ts";
import { type EntryName, entryName, nameText } from "../ffi/entry_name.ts";
import { EBUSY, EEXIST, ENOENT, ENOTDIR, EPERM, EXDEV } from "../ffi/errno.ts";
import {
  close,
  lseek,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  SEEK_SET,
  tryOpenat2,
  withFd,
} from "../ffi/files.ts";
import { clearProtection } from "../ffi/inode_flags.ts";
import { AT_REMOVEDIR, RENAME_NOREPLACE, tryRenameat, tryUnlinkat } from "../ffi/tree.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { VeneerError } from "./errors.ts";

/** How many directories of one branch are open at once. */
const MAX_OPEN = 64;

/** Not through links, out of the directory, or into another mount. */
const INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

/**
 * Deletes the entry at `path`, and all that is below it. Nothing happens where there is none.
 *
 * @param path whose directories above the last name are trusted
 * @throws {VeneerError} `in use` where something is mounted below it
 */
export function removeTree(path: string): void {
  const at = path.lastIndexOf("/");
  const parent = at < 0 ? "." : path.slice(0, at) || "/";
  withFd(
    open(parent, O_RDONLY | O_DIRECTORY),
    (directory) => removeTreeAt(directory, path.slice(at + 1), path),
  );
}

/**
 * The same for a single name in an open directory.
 *
 * @param shown how messages name the entry
 * @throws {RangeError} if `name` is not a single name
 */
export function removeTreeAt(directory: number, name: string, shown = name): void {
  const bytes = entryName(name);
  const root = openInside(directory, bytes, shown);
  if (root === undefined) {
    unlink(directory, bytes, shown);
    return;
  }
  try {
    const removal = new Removal(root, shown);
    do removal.empty(root, 1); while (removal.hoisted());
  } finally {
    close(root);
  }
  removeDirectory(directory, bytes, shown);
}

/** One tree being deleted. */
class Removal {
  #hoisted = 0;
  #seen = 0;

  /** @param root a descriptor of the tree's root, the caller's */
  constructor(readonly root: number, readonly shown: string) {}

  /** Whether subdirectories were moved up to the root since last asked: then it is to be emptied again. */
  hoisted(): boolean {
    const any = this.#hoisted > this.#seen;
    this.#seen = this.#hoisted;
    return any;
  }

  /** Deletes everything in an open directory. */
  empty(directory: number, depth: number): void {
    // Deleting entries may make a listing skip others, so it is read until a pass finds none.
    for (let found = true; found;) {
      found = false;
      for (let some; (some = readSomeEntries(directory)).length > 0;) {
        found = true;
        for (const entry of some) this.#removeEntry(directory, entry, depth);
      }
      if (found) lseek(directory, 0n, SEEK_SET);
    }
  }

  #removeEntry(directory: number, { name, type }: Entry, depth: number): void {
    if (type !== DT_DIR && type !== DT_UNKNOWN) {
      unlink(directory, name, this.shown);
      return;
    }
    const child = openInside(directory, name, this.shown);
    if (child === undefined) {
      unlink(directory, name, this.shown);
      return;
    }
    try {
      if (depth >= MAX_OPEN && this.#hoist(directory, name)) return;
      this.empty(child, depth + 1);
    } finally {
      close(child);
    }
    removeDirectory(directory, name, this.shown);
  }

  /** Moves a subdirectory to the tree's root; false where its file system does not let it. */
  #hoist(directory: number, name: EntryName): boolean {
    for (;;) {
      const free = entryName(`.veneer-hoisted-${this.#hoisted++}`);
      const move = () => tryRenameat(directory, name, this.root, free, RENAME_NOREPLACE);
      let result = move();
      if (result === -EPERM) {
        for (const fd of [this.root, directory]) clearProtection(fd);
        unprotect(directory, name);
        result = move();
      }
      if (result === -EEXIST) continue;
      // A project of its own below the root (EXDEV): then it is deleted where it is.
      if (result === -EXDEV) return false;
      unwrap(result, "renameat", shownEntry(this.shown, name));
      return true;
    }
  }
}

/** Opens a subdirectory; `undefined` where the entry is no directory, or gone. */
function openInside(directory: number, name: EntryName, shown: string): number | undefined {
  const fd = tryOpenat2(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, INSIDE);
  if (fd >= 0) return fd;
  const ELOOP = 40;
  if (fd === -ENOTDIR || fd === -ENOENT || fd === -ELOOP) return undefined;
  if (fd === -EXDEV) throw mounted(shown, name);
  unwrap(fd, "openat2", shownEntry(shown, name));
  return undefined;
}

function unlink(directory: number, name: EntryName, shown: string): void {
  remove(directory, name, 0, shown);
}

function removeDirectory(directory: number, name: EntryName, shown: string): void {
  remove(directory, name, AT_REMOVEDIR, shown);
}

function remove(directory: number, name: EntryName, flags: number, shown: string): void {
  let result = tryUnlinkat(directory, name, flags);
  if (result === -EPERM) {
    clearProtection(directory);
    unprotect(directory, name);
    result = tryUnlinkat(directory, name, flags);
  }
  if (result === 0 || result === -ENOENT) return;
  if (result === -EBUSY) throw mounted(shown, name);
  unwrap(result, flags === 0 ? "unlink" : "rmdir", shownEntry(shown, name));
}

/** Takes the marks from a file or directory; other types have none. */
function unprotect(directory: number, name: EntryName): void {
  const O_NONBLOCK = 0o4000;
  const fd = tryOpenat2(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, INSIDE);
  if (fd >= 0) withFd(fd, clearProtection);
}

const shownEntry = (shown: string, name: EntryName) => `${nameText(name)} in ${shown}`;

const mounted = (shown: string, name: EntryName) =>
  new VeneerError(
    "in use",
    `${shown} is not deleted: ${nameText(name)} in it is a mount point; unmount it first`,
  );
