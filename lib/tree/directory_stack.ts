/**
 * Open directories from the root of a tree down to a walk's position.
 *
 * A walk goes from descriptor to descriptor, by one name at a time and through no symbolic link, so
 * that neither the length of a path nor a tree that changes meanwhile can lead it elsewhere. Only
 * the deepest few levels are kept open, at any depth: a level that was closed is opened again by
 * `..` from the one below it, and must then be the same directory as before.
 *
 * @module
 */
import { type EntryName, nameText } from "../../ffi/entry_name.ts";
import { EXDEV } from "../../ffi/errno.ts";
import { close } from "../../ffi/files.ts";
import {
  tryOpenDirectory,
  tryOpenParentDirectory,
  tryReopenDirectory,
} from "../../ffi/quiet_open.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../base/errors.ts";

/** Deeper than real trees go, and few enough for a process that may open 1024 files. */
const LIMIT = 64;

const CLOSED = -1;
const stat = new Stat();

export class DirectoryStack implements Disposable {
  /** From the root down. */
  readonly #fds: number[];
  /** The identities of the closed levels, which are the first ones. */
  readonly #closed: string[] = [];

  /**
   * @param root  an open directory, which stays the caller's
   * @param limit of descriptors kept open at once, at least 1
   */
  constructor(root: number, readonly limit = LIMIT) {
    this.#fds = [unwrap(tryReopenDirectory(root), "openat")];
  }

  /** The directory the walk stands in; it stays the stack's. */
  get fd(): number {
    return this.#fds[this.#fds.length - 1];
  }

  /** How many levels below the root the walk stands. */
  get depth(): number {
    return this.#fds.length - 1;
  }

  /**
   * Goes down into a directory.
   *
   * @returns its descriptor, or `-errno` without moving the walk
   * @throws {VeneerError} `in use` if it is a mount point: mounts are not part of the tree
   */
  tryEnter(name: EntryName): number {
    const fd = tryOpenDirectory(this.fd, name);
    if (fd === -EXDEV) throw mountedInside(name);
    if (fd < 0) return fd;
    this.#fds.push(fd);
    const lowest = this.#closed.length;
    if (this.#fds.length - lowest > this.limit) {
      this.#closed.push(identity(this.#fds[lowest]));
      close(this.#fds[lowest]);
      this.#fds[lowest] = CLOSED;
    }
    return fd;
  }

  /**
   * Goes back up.
   *
   * @throws {VeneerError} `failed` if the directory was moved elsewhere meanwhile
   */
  leave(): void {
    const left = this.#fds.pop()!;
    try {
      if (this.fd === CLOSED) this.#fds[this.depth] = reopen(left, this.#closed.pop()!);
    } finally {
      close(left);
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) if (fd !== CLOSED) close(fd);
    this.#fds.length = 0;
  }
}

/** The error for a name that is a mount point: mounts are not part of the tree. */
export const mountedInside = (name: EntryName) =>
  new VeneerError(
    "in use",
    `${nameText(name)} in the tree that is being read is a mount point; unmount it first`,
  );

/** Opens the parent of a directory, which was `expected`. */
function reopen(child: number, expected: string): number {
  const fd = unwrap(tryOpenParentDirectory(child), "openat", "..");
  if (identity(fd) === expected) return fd;
  close(fd);
  throw new VeneerError(
    "failed",
    "a directory was moved while the tree was being read; read it again when nothing changes it",
  );
}

/** Tells an open directory from every other one. */
export function identity(fd: number): string {
  fstat(fd, stat);
  return `${stat.devMajor}:${stat.devMinor}:${stat.inode}`;
}
