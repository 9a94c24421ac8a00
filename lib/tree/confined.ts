/**
 * Paths below a directory with untrusted content: a store's home, the state of a boot.
 *
 * A {@linkcode ConfinedPath} is a root and names below it. Every call here opens the root, makes
 * sure that it is still the directory that it was, goes down from there through no symbolic link
 * (`RESOLVE_INSIDE`), and acts on one checked name in the directory reached. So no planted file
 * below the root leads a call out of it, and the path above the root belongs to the administrator.
 *
 * The root is opened for each call and not kept open: a home becomes a mount while it is used
 * (`private_home.ts`). A descriptor from before would not see mounts made below the home later, and
 * one from after would keep the mount busy.
 *
 * Calls have a raw form `try…` (result or `-errno`), and a form that throws. Both are named as
 * those of `ffi/paths.ts`, which are for whole trusted paths; only these take a
 * {@linkcode ConfinedPath}.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { readNames } from "../../ffi/directory.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { EEXIST, ELOOP, ENOENT, ENOTDIR, ESTALE } from "../../ffi/errno.ts";
import * as files from "../../ffi/files.ts";
import {
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_INSIDE,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import { fstat, Stat, tryFstat, tryStatat, tryStatBirthAt } from "../../ffi/stat.ts";
import {
  tryLchownat,
  tryMkdirat,
  tryReadlinkat,
  tryRenameat,
  trySymlinkat,
  tryUnlinkat,
} from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../base/errors.ts";
import { removeTreeAt } from "./remove_tree.ts";

/** Opens a directory for its names to be reached. */
const REACH = O_PATH | O_DIRECTORY;
/** Opens a directory for being listed, synced or emptied. */
const READ = O_RDONLY | O_DIRECTORY;

/** A trusted directory with untrusted content. */
export class ConfinedRoot {
  #held: number | undefined;
  /** Directories that stay open as long as the root does, or `-errno`. */
  readonly #kept = new Map<string, number>();
  #through: number | undefined;

  private constructor(
    /** Absolute. Links in it are the administrator's; its last component is not a link. */
    readonly path: string,
    /** Of its file system. */
    readonly major: number,
    readonly minor: number,
    readonly inode: bigint,
  ) {}

  /** The root at a path that `directory` is open on. */
  static of(path: string, directory: number): ConfinedRoot {
    const { devMajor, devMinor, inode } = fstat(directory);
    return new ConfinedRoot(path, devMajor, devMinor, inode);
  }

  /**
   * A root that is reached through this descriptor alone, which the caller keeps open: a copy of a
   * mount that is attached nowhere.
   */
  static through(path: string, directory: number): ConfinedRoot {
    const root = ConfinedRoot.of(path, directory);
    root.#through = directory;
    root.#held = directory;
    return root;
  }

  /** A path below it; without parts, the root's own. */
  join(...parts: string[]): ConfinedPath {
    return new ConfinedPath(this, parts.join("/"));
  }

  /**
   * Keeps the root open while `use` runs, for calls that follow each other closely: the root must
   * not be mounted or unmounted meanwhile.
   */
  hold<T>(use: () => T): T {
    if (this.#held !== undefined) return use();
    const fd = this.tryOpen(REACH);
    if (fd < 0) return use(); // Each call then reports the fault.
    this.#held = fd;
    try {
      return use();
    } finally {
      this.#held = undefined;
      for (const kept of this.#kept.values()) if (kept >= 0) close(kept);
      this.#kept.clear();
      close(fd);
    }
  }

  /**
   * Opens a directory below the root for reaching names in it: once in each {@linkcode hold}, which
   * closes it. Nothing may replace the directory meanwhile.
   *
   * @returns the descriptor, or `-errno`; `undefined` outside of a hold
   */
  tryKeep(relative: string): number | undefined {
    if (this.#held === undefined) return undefined;
    const kept = this.#kept.get(relative) ??
      tryOpenat2(this.#held, relative, REACH, RESOLVE_INSIDE);
    this.#kept.set(relative, kept);
    return kept;
  }

  /**
   * Runs `use` on a descriptor of the root for reaching names below it; raw: its result, or
   * `-errno`.
   */
  tryReach<T>(use: (root: number) => T): T | number {
    if (this.#held !== undefined) return use(this.#held);
    const fd = this.tryOpen(REACH);
    return fd < 0 ? fd : withFd(fd, use);
  }

  /** Opens the root, raw: `-ESTALE` if another directory has its path now. The caller closes it. */
  tryOpen(flags: number): number {
    if (this.#through !== undefined) return files.tryReopen(this.#through, flags);
    const fd = files.tryOpen(this.path, flags | O_NOFOLLOW);
    if (fd < 0) return fd;
    const result = tryFstat(fd, rootStat);
    if (result === 0 && this.#isRoot(rootStat)) return fd;
    close(fd);
    return result < 0 ? result : -ESTALE;
  }

  #isRoot({ inode, devMajor, devMinor }: Stat): boolean {
    return inode === this.inode && devMajor === this.major && devMinor === this.minor;
  }
}

const rootStat = new Stat();

/** A path below a root. */
export class ConfinedPath {
  constructor(
    readonly root: ConfinedRoot,
    /** Names joined by `/`; `""` for the root itself. */
    readonly relative: string,
  ) {}

  /** The absolute path, for messages, and for `mount(2)` through {@linkcode openWithoutLinks}. */
  get text(): string {
    return this.relative === "" ? this.root.path : `${this.root.path}/${this.relative}`;
  }

  /** The same, for messages. */
  toString(): string {
    return this.text;
  }

  /** The same, for JSON output. */
  toJSON(): string {
    return this.text;
  }

  /** A path below this one. */
  join(...parts: string[]): ConfinedPath {
    const below = parts.join("/");
    return new ConfinedPath(this.root, this.relative === "" ? below : `${this.relative}/${below}`);
  }

  /** The same with something behind its last name. */
  withSuffix(suffix: string): ConfinedPath {
    return new ConfinedPath(this.root, this.relative + suffix);
  }

  /** The last name. */
  get name(): string {
    return this.relative.slice(this.relative.lastIndexOf("/") + 1);
  }

  /** The directory above. */
  get parent(): ConfinedPath {
    const at = this.relative.lastIndexOf("/");
    return new ConfinedPath(this.root, at < 0 ? "" : this.relative.slice(0, at));
  }
}

/**
 * Turns a raw result into a value or an error. A link or a file in place of a directory is a
 * damaged store, with a message of its own.
 *
 * @throws {VeneerError} `corrupt store` for a link or a file on the way, `failed precondition` for
 * a root that was replaced
 * @throws {SyscallError} for all else
 */
export function unwrapConfined(result: number, syscall: string, path: ConfinedPath): number {
  if (result === -ELOOP) {
    throw new VeneerError(
      "corrupt store",
      `${path} is a symbolic link or lies behind one, which is not followed below ${path.root.path}; remove it`,
    );
  }
  if (result === -ENOTDIR) {
    throw new VeneerError(
      "corrupt store",
      `${path} lies in something that is not a directory; move that elsewhere`,
    );
  }
  if (result === -ESTALE) {
    throw new VeneerError(
      "failed precondition",
      `${path.root.path} is another directory than when it was opened; open the store again`,
    );
  }
  return unwrap(result, syscall, path);
}

/** Runs `use` on the open directory that a path's last name is in; raw: its result, or `-errno`. */
export function tryInParent<T>(
  path: ConfinedPath,
  use: (directory: number, name: EntryName) => T,
): T | number {
  const at = path.relative.lastIndexOf("/");
  const name = entryName(path.relative.slice(at + 1));
  return path.root.tryReach((root) => {
    if (at < 0) return use(root, name);
    const directory = tryOpenat2(root, path.relative.slice(0, at), REACH, RESOLVE_INSIDE);
    return directory < 0 ? directory : withFd(directory, () => use(directory, name));
  });
}

/**
 * Runs `use` on a directory as a root that is opened once for all calls in it.
 *
 * @throws {VeneerError} `corrupt store` if it is no directory
 */
export function within<T>(path: ConfinedPath, use: (directory: ConfinedRoot) => T): T {
  return withFd(openDirectory(path), (fd) => use(ConfinedRoot.through(path.text, fd)));
}

/** Runs `use` on the open directory that a path's last name is in, and the name. */
export function inParent<T>(
  path: ConfinedPath,
  use: (directory: number, name: EntryName) => T,
): T {
  return withFd(open(path.parent, READ), (directory) => use(directory, entryName(path.name)));
}

/** `open(2)` through no link, raw: a descriptor or `-errno` (`ELOOP` for a link). */
export function tryOpen(path: ConfinedPath, flags: number, mode = 0): number {
  if (path.relative === "") return path.root.tryOpen(flags);
  return path.root.tryReach((root) => tryOpenat2(root, path.relative, flags, RESOLVE_INSIDE, mode));
}

/** `open(2)` through no link: a new descriptor, which the caller closes. */
export function open(path: ConfinedPath, flags: number, mode = 0): number {
  return unwrapConfined(tryOpen(path, flags, mode), "open", path);
}

/** Opens a directory for listing and reading; the caller closes it. */
export function openDirectory(path: ConfinedPath): number {
  const fd = tryOpen(path, READ);
  if (fd === -ENOTDIR) throw notADirectory(path);
  return unwrapConfined(fd, "open", path);
}

/**
 * Refuses a link in place of a directory, which the kernel would follow; a missing directory is
 * accepted.
 *
 * @throws {VeneerError} `corrupt store` for a link, a path through one, and anything else but a
 * directory
 */
export function refuseLinks(path: ConfinedPath): void {
  const fd = tryOpen(path, REACH);
  if (fd === -ENOENT) return;
  if (fd === -ENOTDIR) throw notADirectory(path);
  close(unwrapConfined(fd, "open", path));
}

/**
 * Opens an absolute path of which no part is a symbolic link: an argument of a mount call, or a
 * layer's root, which may be a mount or a directory of the store.
 *
 * @throws {VeneerError} `corrupt store` if a part is a link
 */
export function openWithoutLinks(path: string, flags: number): number {
  const fd = withFd(
    files.open("/", REACH),
    (top) => tryOpenat2(top, path.replace(/^\/+/, "") || ".", flags, RESOLVE_INSIDE),
  );
  if (fd !== -ELOOP) return unwrap(fd, "open", path);
  throw new VeneerError(
    "corrupt store",
    `${path} is a symbolic link or lies behind one, which is not followed; remove it`,
  );
}

/** The root of a tree: its absolute path, or an open directory, which stays the caller's. */
export type TreePlace = string | number;

/**
 * Opens the root of a tree, from its start; the caller closes it.
 *
 * @throws {VeneerError} as {@linkcode openWithoutLinks}
 */
export function openTree(place: TreePlace, flags: number): number {
  return typeof place === "string" ? openWithoutLinks(place, flags) : files.reopen(place, flags);
}

/** `statx(2)` of the entry itself, raw: 0 or `-errno`. */
function tryStat(path: ConfinedPath, stat: Stat): number {
  if (path.relative !== "") {
    return tryInParent(path, (directory, name) => tryStatat(directory, name, stat));
  }
  return path.root.tryReach((root) => tryFstat(root, stat));
}

/** The entry at a path, links not followed. */
export function lstat(path: ConfinedPath, stat = new Stat()): Stat {
  unwrapConfined(tryStat(path, stat), "statx", path);
  return stat;
}

/** The same, or `undefined` if nothing is there, or only behind a link. Other failures throw. */
export function tryLstat(path: ConfinedPath, stat = new Stat()): Stat | undefined {
  const result = tryStat(path, stat);
  if (result === -ENOENT || result === -ENOTDIR || result === -ELOOP) return undefined;
  unwrapConfined(result, "statx", path);
  return stat;
}

const scratchStat = new Stat();

/**
 * When the entry at a path was created, in microseconds since 1970; `undefined` if the file system
 * does not store that, or nothing is there.
 */
export function birthOf(path: ConfinedPath): number | undefined {
  const result = tryInParent(path, (parent, name) => tryStatBirthAt(parent, name, scratchStat));
  if (result === -ENOENT || result === -ENOTDIR || result === -ELOOP) return undefined;
  unwrapConfined(result, "statx", path);
  return scratchStat.birth === 0n ? undefined : Number(scratchStat.birth / 1000n);
}

/** Whether there is anything at a path, be it a link. */
export function exists(path: ConfinedPath): boolean {
  return canReach(path, O_PATH | O_NOFOLLOW);
}

/** Whether a directory is at a path. */
export function isDirectory(path: ConfinedPath): boolean {
  return canReach(path, REACH);
}

/** Looks at a path with the fewest calls: two, where `statx` opens the directory that it is in. */
function canReach(path: ConfinedPath, flags: number): boolean {
  const fd = tryOpen(path, flags);
  if (fd === -ENOENT || fd === -ENOTDIR || fd === -ELOOP) return false;
  close(unwrapConfined(fd, "open", path));
  return true;
}

/** `mkdir(2)`, raw. */
export function tryMkdir(path: ConfinedPath, mode: number): number {
  return tryInParent(path, (directory, name) => tryMkdirat(directory, name, mode));
}

/** `mkdir(2)`. */
export function mkdir(path: ConfinedPath, mode: number): void {
  unwrapConfined(tryMkdir(path, mode), "mkdir", path);
}

/**
 * Makes a directory; false if it was there.
 *
 * @throws {VeneerError} `corrupt store` if something else was
 */
export function makeDirectory(path: ConfinedPath, mode: number): boolean {
  const result = tryMkdir(path, mode);
  if (result === -EEXIST) {
    if (!isDirectory(path)) throw notADirectory(path);
    return false;
  }
  unwrapConfined(result, "mkdir", path);
  return true;
}

function notADirectory(path: ConfinedPath): VeneerError {
  return new VeneerError("corrupt store", `${path} is not a directory; move it elsewhere`);
}

/** `symlink(2)`, raw: makes `path` a symbolic link to `target`. */
export function trySymlink(target: string, path: ConfinedPath): number {
  return tryInParent(path, (directory, name) => trySymlinkat(target, directory, name));
}

/** `readlink(2)`, raw: the target as text, or `-errno`. */
export function tryReadlink(path: ConfinedPath): string | number {
  return tryInParent(path, (directory, name) => {
    const target = tryReadlinkat(directory, name);
    return typeof target === "number" ? target : decode(target);
  });
}

/** `unlink(2)`, raw; with `AT_REMOVEDIR` in `flags` for a directory. */
export function tryUnlink(path: ConfinedPath, flags = 0): number {
  return tryInParent(path, (directory, name) => tryUnlinkat(directory, name, flags));
}

/** `unlink(2)`. */
export function unlink(path: ConfinedPath, flags = 0): void {
  unwrapConfined(tryUnlink(path, flags), "unlink", path);
}

/** `renameat2(2)` of two paths of one root, raw; `flags` are `RENAME_…` of `ffi/names.ts`. */
export function tryRename(from: ConfinedPath, to: ConfinedPath, flags = 0): number {
  if (from.root !== to.root) throw new TypeError(`${from} and ${to} are not below one root`);
  const oldName = entryName(from.name), newName = entryName(to.name);
  // Both from one descriptor of the root, so that both are on one mount, even if the root is
  // mounted meanwhile.
  return from.root.tryReach((root) => {
    const tryReach = ({ relative }: ConfinedPath) =>
      tryOpenat2(root, relative || ".", REACH, RESOLVE_INSIDE);
    const before = tryReach(from.parent);
    if (before < 0) return before;
    return withFd(before, () => {
      const after = tryReach(to.parent);
      if (after < 0) return after;
      return withFd(after, () => tryRenameat(before, oldName, after, newName, flags));
    });
  });
}

/** `renameat2(2)` of two paths of one root. */
export function rename(from: ConfinedPath, to: ConfinedPath, flags = 0): void {
  unwrapConfined(tryRename(from, to, flags), "rename", from);
}

/** `lchown(2)`, raw. An id of 0xffffffff leaves that one as it is. */
export function tryLchown(path: ConfinedPath, uid: number, gid: number): number {
  return tryInParent(path, (directory, name) => tryLchownat(directory, name, uid, gid));
}

/** `lchown(2)`. */
export function lchown(path: ConfinedPath, uid: number, gid: number): void {
  unwrapConfined(tryLchown(path, uid, gid), "chown", path);
}

/**
 * The names in a directory, sorted; none if it does not exist.
 *
 * @throws {VeneerError} `corrupt store` if it is a link, or no directory
 */
export function list(path: ConfinedPath): string[] {
  const fd = tryOpen(path, READ);
  if (fd === -ENOENT) return [];
  if (fd === -ENOTDIR) throw notADirectory(path);
  return withFd(unwrapConfined(fd, "open", path), readNames);
}

/** Deletes the entry at a path, and all that is below it; see `remove_tree.ts`. */
export function removeTree(path: ConfinedPath): void {
  const directory = tryOpen(path.parent, READ);
  if (directory === -ENOENT) return;
  withFd(
    unwrapConfined(directory, "open", path.parent),
    () => removeTreeAt(directory, path.name, path.text),
  );
}
