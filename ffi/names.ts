/**
 * The tree of names: making, linking, renaming and removing entries, and their owners, modes and
 * times.
 *
 * Every call takes a directory's descriptor and a name in it, checked by `entry_name.ts`;
 * `paths.ts` has those on whole paths. Each call has a raw form `try…` (result or `-errno`).
 *
 * @module
 */
import { cstring, decode, type Path } from "./cstring.ts";
import type { EntryName } from "./entry_name.ts";
import { E, tree } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

// `linux/fcntl.h`.
/** Resolve relative paths from the working directory. */
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

// Bits of `st_mode`: `linux/stat.h`. First the types, then of the permissions those that code asks
// for.
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
/** Of a directory: new entries in it get its group. */
export const S_ISGID = 0o2000;
/** Of a directory: only an entry's owner removes or renames it. */
export const S_ISVTX = 0o1000;
export const S_IWGRP = 0o020;
export const S_IWOTH = 0o002;

/** `mkdirat(2)`, raw. */
export function tryMkdirat(dirfd: number, name: EntryName, mode: number): number {
  const result = tree.mkdirat()(dirfd, name, mode);
  return result < 0 ? -E[0] : result;
}

/** `mkdirat(2)`. */
export function mkdirat(dirfd: number, name: EntryName, mode: number): void {
  unwrap(tryMkdirat(dirfd, name, mode), "mkdirat", name);
}

/** A device number as `mknod(2)` takes it: `makedev(3)` of glibc. */
export function makedev(major: number, minor: number): bigint {
  const a = BigInt(major), i = BigInt(minor);
  return (a & 0xfffn) << 8n | (a & ~0xfffn) << 32n | (i & 0xffn) |
    (i & ~0xffn) << 12n;
}

/**
 * `mknodat(2)`, raw. `mode` holds the type; `device` is from {@linkcode makedev}, 0 for fifos and
 * sockets.
 */
export function tryMknodat(
  dirfd: number,
  name: EntryName,
  mode: number,
  device = 0n,
): number {
  const result = tree.mknodat()(dirfd, name, mode, device);
  return result < 0 ? -E[0] : result;
}

/** `mknodat(2)`. */
export function mknodat(
  dirfd: number,
  name: EntryName,
  mode: number,
  device = 0n,
): void {
  unwrap(tryMknodat(dirfd, name, mode, device), "mknodat", name);
}

/** `symlinkat(2)`, raw: makes `name` a symbolic link to `target`. */
export function trySymlinkat(target: Path, dirfd: number, name: EntryName): number {
  const targetBytes = cstring(target);
  const result = tree.symlinkat()(targetBytes, dirfd, name);
  return result < 0 ? -E[0] : result;
}

/** `symlinkat(2)`. */
export function symlinkat(target: Path, dirfd: number, name: EntryName): void {
  unwrap(trySymlinkat(target, dirfd, name), "symlinkat", name);
}

/**
 * `linkat(2)`, raw: makes `newName` another name of `oldName` (itself, if that is a symbolic link).
 */
export function tryLinkat(
  oldDirfd: number,
  oldName: EntryName,
  newDirfd: number,
  newName: EntryName,
  flags = 0,
): number {
  const result = tree.linkat()(oldDirfd, oldName, newDirfd, newName, flags);
  return result < 0 ? -E[0] : result;
}

/** `linkat(2)` of an open file that has no name (`O_TMPFILE`), raw: gives it one. */
export function tryLinkFile(fd: number, dirfd: number, name: EntryName): number {
  const path = cstring(`/proc/self/fd/${fd}`);
  const result = tree.linkat()(AT_FDCWD, path, dirfd, name, AT_SYMLINK_FOLLOW);
  return result < 0 ? -E[0] : result;
}

/** `unlinkat(2)`, raw; with `AT_REMOVEDIR` in `flags` for a directory. */
export function tryUnlinkat(dirfd: number, name: EntryName, flags = 0): number {
  const result = tree.unlinkat()(dirfd, name, flags);
  return result < 0 ? -E[0] : result;
}

/** `unlinkat(2)`. */
export function unlinkat(dirfd: number, name: EntryName, flags = 0): void {
  unwrap(tryUnlinkat(dirfd, name, flags), "unlinkat", name);
}

// `linux/fs.h`.
/** Fail with EEXIST if the new name exists. */
export const RENAME_NOREPLACE = 1;
/** Exchange the two. */
export const RENAME_EXCHANGE = 2;

/** `renameat2(2)`, raw. */
export function tryRenameat(
  oldDirfd: number,
  oldName: EntryName,
  newDirfd: number,
  newName: EntryName,
  flags = 0,
): number {
  const result = tree.renameat2()(
    oldDirfd,
    oldName,
    newDirfd,
    newName,
    flags,
  );
  return result < 0 ? -E[0] : result;
}

/** `renameat2(2)`. */
export function renameat(
  oldDirfd: number,
  oldName: EntryName,
  newDirfd: number,
  newName: EntryName,
  flags = 0,
): void {
  unwrap(
    tryRenameat(oldDirfd, oldName, newDirfd, newName, flags),
    "renameat",
    oldName,
  );
}

/** The longest target of a symbolic link: `PATH_MAX` of `linux/limits.h`. */
export const PATH_MAX = 4096;
/**
 * As many symbolic links as the kernel follows in one path: its `linux/namei.h`,
 * path_resolution(7).
 */
export const MAXSYMLINKS = 40;
const target = new Uint8Array(PATH_MAX);

/** `readlinkat(2)`, raw: the target's bytes, valid until the next call, or `-errno`. */
export function tryReadlinkat(
  dirfd: number,
  name: EntryName,
): Uint8Array<ArrayBuffer> | number {
  const length = tree.readlinkat()(dirfd, name, target, PATH_MAX);
  return length < 0 ? -E[0] : target.subarray(0, length);
}

/** `readlinkat(2)`: the target as text. */
export function readlinkat(dirfd: number, name: EntryName): string {
  const result = tryReadlinkat(dirfd, name);
  if (typeof result !== "number") return decode(result);
  unwrap(result, "readlinkat", name);
  return "";
}

/** `fchownat(2)` of the entry itself, raw. An id of 0xffffffff is left unchanged. */
export function tryLchownat(
  dirfd: number,
  name: EntryName,
  uid: number,
  gid: number,
): number {
  const result = tree.fchownat()(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW);
  return result < 0 ? -E[0] : result;
}

/** `fchown(2)`, raw. */
export function tryFchown(fd: number, uid: number, gid: number): number {
  const result = tree.fchown()(fd, uid, gid);
  return result < 0 ? -E[0] : result;
}

/** `fchown(2)`. */
export function fchown(fd: number, uid: number, gid: number): void {
  unwrap(tryFchown(fd, uid, gid), "fchown");
}

/** `fchmod(2)`, raw. */
export function tryFchmod(fd: number, mode: number): number {
  const result = tree.fchmod()(fd, mode);
  return result < 0 ? -E[0] : result;
}

/** `fchmod(2)`. */
export function fchmod(fd: number, mode: number): void {
  unwrap(tryFchmod(fd, mode), "fchmod");
}

/** `fchmodat(2)`, raw. Follows symbolic links: never call it on an entry that may be one. */
export function tryFchmodat(dirfd: number, name: EntryName, mode: number): number {
  const result = tree.fchmodat()(dirfd, name, mode, 0);
  return result < 0 ? -E[0] : result;
}

/** In a `tv_nsec`: leaves a time as it is, and sets it to the present (`linux/stat.h`). */
export const UTIME_OMIT = 0x3ffffffe;
export const UTIME_NOW = 0x3fffffff;

/**
 * Two `struct timespec`, access and modification, for the calls below; reused, so set it right
 * before.
 */
export class Times {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(32);
  readonly #words = new Int32Array(this.bytes.buffer);
  readonly #seconds = new BigInt64Array(this.bytes.buffer);

  /** Seconds since the epoch (may be negative) and nanoseconds, of access and of modification. */
  set(
    accessSeconds: number,
    accessNanos: number,
    seconds: number,
    nanos: number,
  ): this {
    this.#seconds[0] = BigInt(accessSeconds);
    this.#words[2] = accessNanos;
    this.#seconds[2] = BigInt(seconds);
    this.#words[6] = nanos;
    return this;
  }
}

/** `utimensat(2)` of the entry itself, raw. */
export function tryLutimensat(dirfd: number, name: EntryName, times: Times): number {
  const result = tree.utimensat()(
    dirfd,
    name,
    times.bytes,
    AT_SYMLINK_NOFOLLOW,
  );
  return result < 0 ? -E[0] : result;
}

/** `futimens(3)`, raw. */
export function tryFutimens(fd: number, times: Times): number {
  const result = tree.futimens()(fd, times.bytes);
  return result < 0 ? -E[0] : result;
}
