/**
 * Deleting a tree of files: any content, and never anything outside.
 *
 * Every call takes a descriptor and a single name; no path is ever joined, no link followed, and no
 * mount entered. A tree may be deeper than there are descriptors: beyond {@linkcode MAX_OPEN}
 * levels, those further up are closed, and opened again as the parent of the level below, if they
 * are still the same directories. Files marked immutable or append-only lose the mark first.
 *
 * A tree that others change meanwhile is deleted as far as it is found; to be safe from being left
 * behind, move it out of their sight first. If others that are in it already make entries as fast
 * as these are deleted, the removal ends with an error after {@linkcode PATIENCE}.
 *
 * @module
 */
import { DT_DIR, DT_UNKNOWN, type Entry, readSomeEntries } from "../../ffi/directory.ts";
import { type EntryName, entryName, nameText } from "../../ffi/entry_name.ts";
import { EBUSY, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EXDEV } from "../../ffi/errno.ts";
import {
  close,
  lseek,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  open,
  reopen,
  RESOLVE_INSIDE,
  RESOLVE_NO_XDEV,
  SEEK_CUR,
  SEEK_SET,
  tryOpenat2,
  tryOpenParent,
  withFd,
} from "../../ffi/files.ts";
import { fstat, Stat, tryStatBirthAt } from "../../ffi/stat.ts";
import { AT_REMOVEDIR, tryUnlinkat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { identity } from "./directory_stack.ts";
import { VeneerError } from "../base/errors.ts";
import { usersOf } from "../base/processes.ts";
import { sleep } from "../base/sleep.ts";
import { liftingProtection } from "./protection.ts";

/** How many directories of one branch are open at once. */
const MAX_OPEN = 64;
const CLOSED = -1;

/**
 * How often an entry may change its type before that is an error, so that a program that keeps
 * changing the tree cannot keep a removal running for ever.
 */
const MAX_CHANGES = 10_000;

/** How long entries that others made meanwhile are deleted in all, in milliseconds. */
const PATIENCE = 500;

/** How many entries make a directory one that takes long to empty if others write to it. */
const MANY = 256;

/** The age of a directory's last change, in milliseconds, up to which it is watched for others. */
const LATELY = 100;

/** How long a directory is watched for changes by others, in milliseconds. */
const WATCH = 20;

/** How many directories are watched at most. */
const MAX_WATCHED = 25;

/** The errors of removing an entry whose type changed since it was read. */
const CHANGED: ReadonlySet<number> = new Set([-ENOTDIR, -EISDIR, -ENOTEMPTY]);

const DIRECTORY = O_RDONLY | O_DIRECTORY;

/** Returns true for entries to keep, given their directory's inode number and their name. */
export type Keep = (directory: bigint, name: EntryName) => boolean;

/** Options of {@linkcode removeEntry} and {@linkcode removeEntriesOf}. */
export interface RemovalOptions {
  /** The entries to keep, with the directories that contain them. */
  readonly keep?: Keep;
  /** Called with each open directory that stays only since something in it does. */
  readonly onLeft?: (fd: number) => void;
  /** The name of the deleted tree in messages. */
  readonly shown?: string;
}

/**
 * Deletes the entry at `path` and everything below it. Does nothing if it does not exist.
 *
 * @param path whose directories above the last name are trusted
 * @throws {VeneerError} `in use` if something is mounted below it
 */
export function removeTree(path: string): void {
  const at = path.lastIndexOf("/");
  const parent = at < 0 ? "." : path.slice(0, at) || "/";
  withFd(
    open(parent, DIRECTORY),
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
  removeEntry(directory, entryName(name), { shown });
}

/**
 * The same, except for entries to keep.
 *
 * @throws {VeneerError} `in use` if something is mounted below it
 */
export function removeEntry(
  directory: number,
  name: EntryName,
  options: RemovalOptions = {},
): void {
  const { shown = nameText(name) } = options;
  using removal = new Removal(reopen(directory, DIRECTORY), { ...options, shown });
  removal.entry({ name, type: DT_UNKNOWN });
  removal.run();
}

/** Empties an open directory, except for entries to keep. */
export function removeEntriesOf(directory: number, options: RemovalOptions = {}): void {
  const { shown = "a directory" } = options;
  using removal = new Removal(reopen(directory, DIRECTORY), { ...options, shown });
  removal.list();
  removal.run();
}

/** An entry to be deleted. */
interface Doomed extends Entry {
  /** Whether it is a directory that was emptied, and others have written to it since. */
  readonly isAgain?: boolean;
}

/** A directory on the way down to a removal's position. */
interface Level {
  fd: number;
  readonly name: EntryName | undefined;
  readonly inode: bigint;
  /** Whether the directory is to stay. */
  readonly isKept: boolean;
  /** Whether it stays: it is to, or something in it does. */
  stays: boolean;
  /** Entries that were listed and not yet looked at, the next one at the end. */
  entries: Doomed[];
  /** The position at which the listing of {@linkcode entries} began, to read it again. */
  position: bigint;
  /** Directories in it that were read and stay; further passes skip them. */
  stayed: Set<string> | undefined;
  /** Whether this pass over the directory has deleted something. */
  progress: boolean;
  /** Whether others write to it: it was emptied before, changes, or has entries newer than this. */
  isAgain: boolean;
  /** Which directory it is, if it was closed. */
  identity: string;
}

/** One tree being deleted. */
class Removal implements Disposable {
  readonly #shown: string;
  readonly #keep: Keep | undefined;
  readonly #onLeft: ((fd: number) => void) | undefined;
  readonly #levels: Level[] = [];
  readonly #stat = new Stat();
  readonly #begun = Date.now();
  #isListing = false;
  #watched = 0;
  #changes = 0;
  /** The uppermost directory in which entries of others are deleted, since {@linkcode #since}. */
  #again: Level | undefined;
  #since = 0;
  /** How long such entries were deleted before, in milliseconds. */
  #spent = 0;

  /** @param root a descriptor of the directory that contains the tree; closed in the end */
  constructor(root: number, { shown, keep, onLeft }: RemovalOptions & { readonly shown: string }) {
    this.#shown = shown;
    this.#keep = keep;
    this.#onLeft = onLeft;
    this.#push(root, undefined, true);
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#levels) if (fd !== CLOSED) close(fd);
    this.#levels.length = 0;
  }

  /** Starts on deleting all entries of the root. */
  list(): void {
    this.#isListing = true;
  }

  /** Deletes the entries. */
  run(): void {
    for (;;) {
      const level = this.#levels.at(-1)!;
      this.#requirePatience();
      if (level.entries.length > 0) this.entry(level.entries.pop()!);
      else if (!this.#listMore(level)) {
        if (this.#levels.length === 1) return;
        this.#leave(level);
      }
    }
  }

  /** Reads more of a directory; false at its end. */
  #listMore(level: Level): boolean {
    if (this.#levels.length === 1 && !this.#isListing) return false;
    level.position = lseek(level.fd, 0n, SEEK_CUR);
    level.entries = readSomeEntries(level.fd).reverse();
    if (level.entries.length > 0) {
      level.isAgain ||= this.#isNew(level.fd, level.entries[0].name) || this.#isWritten(level);
      if (level.isAgain) this.#beginAgain(level);
      return true;
    }
    // Deleting entries may make a listing skip others, so it is read until a pass finds nothing to
    // delete.
    if (!level.progress) return false;
    level.progress = false;
    level.isAgain = true;
    lseek(level.fd, 0n, SEEK_SET);
    return true;
  }

  /** Whether an entry was made since the removal began, if the file system records that. */
  #isNew(directory: number, name: EntryName): boolean {
    if (tryStatBirthAt(directory, name, this.#stat) < 0) return false;
    const birth = Number(this.#stat.birth / 1_000_000n);
    return birth > this.#begun && birth <= Date.now();
  }

  /** Whether others change a large directory that nothing was deleted from yet. */
  #isWritten({ fd, entries, progress }: Level): boolean {
    if (progress || entries.length < MANY || this.#watched === MAX_WATCHED) return false;
    const { seconds, nanos } = fstat(fd, this.#stat);
    if (Math.abs(Date.now() - seconds * 1000 - nanos / 1e6) > LATELY) return false;
    this.#watched++;
    sleep(WATCH);
    const now = fstat(fd, this.#stat);
    return now.seconds !== seconds || now.nanos !== nanos;
  }

  #beginAgain(level: Level): void {
    if (this.#again !== undefined) return;
    this.#again = level;
    this.#since = performance.now();
  }

  #endAgain(level: Level): void {
    if (this.#again !== level) return;
    this.#again = undefined;
    this.#spent += performance.now() - this.#since;
  }

  /** @throws {VeneerError} `in use` if others have kept the removal from its end for too long */
  #requirePatience(): void {
    if (this.#again === undefined) return;
    if (this.#spent + performance.now() - this.#since < PATIENCE) return;
    throw contested(this.#shown, this.#again.name);
  }

  /** Deletes an entry of the directory that the removal is in, or goes down into it. */
  entry({ name, type, isAgain = false }: Doomed): void {
    const level = this.#levels.at(-1)!;
    const stays = this.#keep?.(level.inode, name) ?? false;
    if (type === DT_DIR || type === DT_UNKNOWN) {
      if (level.stayed?.has(nameText(name))) return;
      const fd = openInside(level.fd, name, this.#shown);
      if (fd !== undefined) return this.#push(fd, name, stays, isAgain);
    }
    if (stays) level.stays = true;
    else {
      this.#removed(level, tryRemove(level.fd, name, 0), "unlink", name);
    }
  }

  /** Counts an entry as deleted, or reads it again if another program replaced it meanwhile. */
  #removed(level: Level, result: number, syscall: string, name: EntryName): void {
    if (CHANGED.has(result) && this.#changes++ < MAX_CHANGES) {
      level.entries.push({ name, type: DT_UNKNOWN, isAgain: result === -ENOTEMPTY });
      return;
    }
    unwrapRemoval(result, syscall, name, this.#shown);
    level.progress = true;
  }

  #push(fd: number, name: EntryName | undefined, stays: boolean, isAgain = false): void {
    const inode = this.#keep === undefined ? 0n : fstat(fd, this.#stat).inode;
    this.#levels.push({
      fd,
      name,
      inode,
      isKept: stays,
      stays,
      entries: [],
      position: 0n,
      stayed: undefined,
      progress: false,
      isAgain,
      identity: "",
    });
    const oldest = this.#levels[this.#levels.length - 1 - MAX_OPEN];
    if (oldest === undefined || oldest.fd === CLOSED) return;
    oldest.identity = identity(oldest.fd);
    close(oldest.fd);
    oldest.fd = CLOSED;
    oldest.entries = [];
  }

  /** Goes back up from a directory that has been read, and deletes it unless it stays. */
  #leave(level: Level): void {
    this.#endAgain(level);
    const { fd, name, isKept, stays } = level;
    const above = this.#levels[this.#levels.length - 2];
    if (above.fd === CLOSED) this.#openAgain(above, fd);
    if (stays && !isKept) this.#onLeft?.(fd);
    this.#levels.pop();
    close(fd);
    const result = stays ? -ENOTEMPTY : tryRemove(above.fd, name!, AT_REMOVEDIR);
    if (result === -ENOTEMPTY && this.#keep !== undefined) {
      above.stays = true;
      (above.stayed ??= new Set()).add(nameText(name!));
    } else {
      this.#removed(above, result, "rmdir", name!);
    }
  }

  #openAgain(level: Level, child: number): void {
    const fd = unwrap(tryOpenParent(child, DIRECTORY), "openat", "..");
    if (identity(fd) !== level.identity) {
      close(fd);
      throw new VeneerError(
        "in use",
        `${this.#shown} is not deleted: a directory in it was moved meanwhile; try again`,
      );
    }
    level.fd = fd;
    lseek(fd, level.position, SEEK_SET);
  }
}

/** Opens a subdirectory; `undefined` if the entry is not a directory, or gone. */
function openInside(directory: number, name: EntryName, shown: string): number | undefined {
  const fd = tryOpenat2(
    directory,
    name,
    DIRECTORY | O_NOFOLLOW,
    RESOLVE_INSIDE | RESOLVE_NO_XDEV,
  );
  if (fd >= 0) return fd;
  if (fd === -ENOTDIR || fd === -ENOENT || fd === -ELOOP) return undefined;
  if (fd === -EXDEV) throw mounted(shown, name);
  unwrap(fd, "openat2", shownEntry(shown, name));
  return undefined;
}

function tryRemove(directory: number, name: EntryName, flags: number): number {
  return liftingProtection(directory, () => tryUnlinkat(directory, name, flags), name);
}

function unwrapRemoval(result: number, syscall: string, name: EntryName, shown: string): void {
  if (result === -ENOENT) return;
  if (result === -EBUSY) throw mounted(shown, name);
  unwrap(result, syscall, shownEntry(shown, name));
}

const shownEntry = (shown: string, name: EntryName) => `${nameText(name)} in ${shown}`;

/** The error for a directory that others fill as fast as it is emptied. */
function contested(shown: string, name: EntryName | undefined): VeneerError {
  const where = name === undefined ? "it" : `${nameText(name)} in it`;
  const users = shown.startsWith("/") ? usersOf(shown).join(", ") : "";
  return new VeneerError(
    "in use",
    `${shown} is not deleted: something still writes to ${where}${users && `: ${users}`}`,
  );
}

const mounted = (shown: string, name: EntryName) =>
  new VeneerError(
    "in use",
    `${shown} is not deleted: ${nameText(name)} in it is a mount point; unmount it first`,
  );
