/**
 * Extended attributes.
 *
 * The descriptor forms need a file opened for reading or writing; an `O_PATH` descriptor, a
 * symbolic link or a device goes by {@linkcode descriptorPath} and the `l…` forms.
 *
 * @module
 */
import { cstring, decode, type Path } from "./cstring.ts";
import { type EntryName, nameText } from "./entry_name.ts";
import { ENODATA, ENOSYS, EOPNOTSUPP, ERANGE } from "./errno.ts";
import { E, xattrs } from "./libc.ts";
import { AT_SYMLINK_NOFOLLOW } from "./names.ts";
import { unwrap } from "./unwrap.ts";

/**
 * The longest value and the longest list of names: `XATTR_SIZE_MAX`, `XATTR_LIST_MAX` of
 * `linux/limits.h`.
 */
const XATTR_MAX = 65536;
const scratch = new Uint8Array(XATTR_MAX);

/**
 * Enough for nearly every list: the kernel allocates as much as it is asked for, and 64 KiB take it
 * 1 µs.
 */
const USUAL_LIST_SIZE = 1024;
const NO_NAMES = new Uint8Array(0);

/**
 * `flistxattr(2)`, raw: the bytes of the list in a buffer that the next call reuses, or `-errno`.
 */
export function tryFlistxattr(fd: number): Uint8Array<ArrayBuffer> | number {
  let length = xattrs.flistxattr()(fd, scratch, USUAL_LIST_SIZE);
  let result = length < 0 ? -E[0] : length;
  if (result === -ERANGE) {
    length = xattrs.flistxattr()(fd, scratch, XATTR_MAX);
    result = length < 0 ? -E[0] : length;
  }
  return list(result);
}

/** The list that a call left in the buffer, by its raw result. */
function list(result: number): Uint8Array<ArrayBuffer> | number {
  return result < 0 ? result : result === 0 ? NO_NAMES : scratch.subarray(0, result);
}

/** The names of a file's attributes, sorted; empty if the file system has no attributes. */
export function flistxattr(fd: number): string[] {
  return names(tryFlistxattr(fd), "flistxattr");
}

/** The same by path, of the entry itself. */
export function llistxattr(path: Path): string[] {
  const bytes = cstring(path);
  const length = xattrs.llistxattr()(bytes, scratch, XATTR_MAX);
  const result = length < 0 ? -E[0] : scratch.subarray(0, length);
  return names(result, "llistxattr", path);
}

/** `listxattrat`'s number (Linux 6.13): `asm-generic/unistd.h`, the same on every architecture. */
const SYS_listxattrat = 465;
let hasListxattrat = true;

/**
 * The list of an entry itself by its name in a directory, raw, as {@linkcode tryFlistxattr} gives
 * it: by `listxattrat(2)`, and through `/proc` if the kernel does not have that.
 */
export function tryListxattrat(
  dirfd: number,
  name: EntryName,
): Uint8Array<ArrayBuffer> | number {
  if (hasListxattrat) {
    let result = listxattrat(dirfd, name, USUAL_LIST_SIZE);
    if (result === -ERANGE) result = listxattrat(dirfd, name, XATTR_MAX);
    if (result !== -ENOSYS) return list(result);
    hasListxattrat = false;
  }
  const path = cstring(entryPath(dirfd, name));
  const length = xattrs.llistxattr()(path, scratch, XATTR_MAX);
  return list(length < 0 ? -E[0] : length);
}

function listxattrat(dirfd: number, name: EntryName, size: number): number {
  const length = xattrs.listxattrat()(
    SYS_listxattrat,
    dirfd,
    name,
    AT_SYMLINK_NOFOLLOW,
    scratch,
    size,
  );
  return length < 0 ? -E[0] : length;
}

/** A path to an entry of an open directory, for the `l…` forms. */
export function entryPath(dirfd: number, name: EntryName): string {
  return descriptorPath(dirfd, nameText(name));
}

function names(
  list: Uint8Array | number,
  syscall: string,
  path?: Path,
): string[] {
  if (typeof list === "number") {
    if (list === -EOPNOTSUPP) return [];
    unwrap(list, syscall, path);
    return [];
  }
  return list.length === 0 ? [] : decode(list.subarray(0, -1)).split("\0").sort();
}

/** An attribute's value (a copy), or `undefined` if the file does not have it. */
export function fgetxattr(
  fd: number,
  name: string,
): Uint8Array<ArrayBuffer> | undefined {
  const key = cstring(name);
  const length = xattrs.fgetxattr()(fd, key, scratch, XATTR_MAX);
  return value(length < 0 ? -E[0] : length, `fgetxattr ${name}`);
}

/** The same by path, of the entry itself. */
export function lgetxattr(
  path: Path,
  name: string,
): Uint8Array<ArrayBuffer> | undefined {
  const bytes = cstring(path), key = cstring(name);
  const length = xattrs.lgetxattr()(bytes, key, scratch, XATTR_MAX);
  return value(length < 0 ? -E[0] : length, `lgetxattr ${name}`, path);
}

function value(
  length: number,
  syscall: string,
  path?: Path,
): Uint8Array<ArrayBuffer> | undefined {
  if (length === -ENODATA || length === -EOPNOTSUPP || length === -ERANGE) {
    return undefined;
  }
  return scratch.slice(0, unwrap(length, syscall, path));
}

/** `fsetxattr(2)`, raw. */
export function tryFsetxattr(
  fd: number,
  name: string,
  value: Uint8Array<ArrayBuffer>,
): number {
  const key = cstring(name);
  const result = xattrs.fsetxattr()(fd, key, value, value.byteLength, 0);
  return result < 0 ? -E[0] : result;
}

/** `fsetxattr(2)`. */
export function fsetxattr(
  fd: number,
  name: string,
  value: Uint8Array<ArrayBuffer>,
): void {
  unwrap(tryFsetxattr(fd, name, value), `fsetxattr ${name}`);
}

/** `lsetxattr(2)`, raw: of the entry itself. */
export function tryLsetxattr(
  path: Path,
  name: string,
  value: Uint8Array<ArrayBuffer>,
): number {
  const bytes = cstring(path), key = cstring(name);
  const result = xattrs.lsetxattr()(bytes, key, value, value.byteLength, 0);
  return result < 0 ? -E[0] : result;
}

/** `lsetxattr(2)`. */
export function lsetxattr(
  path: Path,
  name: string,
  value: Uint8Array<ArrayBuffer>,
): void {
  unwrap(tryLsetxattr(path, name, value), `lsetxattr ${name}`, path);
}

/** `fremovexattr(2)`, raw. */
export function tryFremovexattr(fd: number, name: string): number {
  const key = cstring(name);
  const result = xattrs.fremovexattr()(fd, key);
  return result < 0 ? -E[0] : result;
}

/** `lremovexattr(2)`, raw: of the entry itself. */
export function tryLremovexattr(path: Path, name: string): number {
  const bytes = cstring(path), key = cstring(name);
  const result = xattrs.lremovexattr()(bytes, key);
  return result < 0 ? -E[0] : result;
}

/** A path to the file of an open descriptor, for calls that take only paths (`proc(5)`). */
export function descriptorPath(fd: number, name = ""): string {
  return name === "" ? `/proc/self/fd/${fd}` : `/proc/self/fd/${fd}/${name}`;
}
