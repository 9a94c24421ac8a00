/**
 * Copying an entry of a lower layer up into the layer's own directory, as a union mount does before
 * it changes one: owner, mode, extended attributes and times are those of the original, and so is a
 * file's content.
 *
 * The attributes are taken as they are on disk: layers that lie on one another have the same id
 * maps.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { ENXIO, EXDEV } from "../../ffi/errno.ts";
import {
  ftruncate,
  lseek,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openat,
  SEEK_DATA,
  SEEK_HOLE,
  SEEK_SET,
  tryLseek,
  tryOpenat,
  withFd,
} from "../../ffi/files.ts";
import {
  fchmod,
  fchown,
  makedev,
  Times,
  tryFchmodat,
  tryFutimens,
  tryLchownat,
  tryLutimensat,
  tryMkdirat,
  tryMknodat,
  tryReadlinkat,
  trySymlinkat,
} from "../../ffi/names.ts";
import { tryOpenDirectory, tryOpenToRead } from "../../ffi/quiet_open.ts";
import { tryCopyFileRange, trySendfile } from "../../ffi/sendfile.ts";
import type { Stat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { entryPath, fgetxattr, fsetxattr, lgetxattr, lsetxattr } from "../../ffi/xattr.ts";
import { mountedInside } from "./directory_stack.ts";
import type { Found } from "./parents.ts";
import { liftingProtection } from "./protection.ts";
import { checkOverlayReferences } from "./whiteouts.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  isOfLayer,
  removeAttribute,
  removeAttributeAt,
  xattrNames,
  xattrNamesAt,
} from "./xattr_names.ts";

/** So many bytes are copied by one call. */
const PIECE = 1 << 30;
const PERMISSIONS = 0o7777;

const times = new Times();

/**
 * Copies a directory up, without its entries.
 *
 * @param found its place in the parents
 * @param stat its `statx`
 * @param into an open directory of the layer that has nothing of that name
 * @returns the new directory, open, which the caller closes; its times are still to be set
 * @throws {VeneerError} `failed precondition` if an attribute marks its content as elsewhere
 */
export function copyDirectoryUp(
  { directory, isLowest }: Found,
  name: EntryName,
  stat: Stat,
  into: number,
): number {
  const source = tryOpenDirectory(directory, name);
  if (source === -EXDEV) throw mountedInside(name);
  return withFd(unwrap(source, "openat", name), () => {
    unwrap(liftingProtection(into, () => tryMkdirat(into, name, 0o700)), "mkdirat", name);
    const copy = openat(into, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    copyAttributes(source, copy, stat, isLowest);
    return copy;
  });
}

/**
 * Copies up an entry that is not a directory, as a new inode: other names of its original in its
 * layer stay with the original.
 *
 * The parameters are those of {@linkcode copyDirectoryUp}.
 *
 * @throws {VeneerError} `failed precondition` if an attribute marks its content as elsewhere
 */
export function copyEntryUp(found: Found, name: EntryName, stat: Stat, into: number): void {
  if (stat.isFile) copyFileUp(found, name, stat, into);
  else if (stat.isSymlink) copyLinkUp(found, name, stat, into);
  else {
    const device = makedev(stat.rdevMajor, stat.rdevMinor);
    const make = () => tryMknodat(into, name, stat.type | 0o600, device);
    unwrap(liftingProtection(into, make), "mknodat", name);
    copyNodeAttributes(found, name, stat, into);
  }
}

function copyFileUp(
  { directory, isLowest }: Found,
  name: EntryName,
  stat: Stat,
  into: number,
): void {
  withFd(unwrap(tryOpenToRead(directory, name), "openat", name), (source) => {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    const open = () => tryOpenat(into, name, flags, 0o600);
    withFd(unwrap(liftingProtection(into, open), "openat", name), (copy) => {
      copyContent(source, copy, stat.size);
      copyAttributes(source, copy, stat, isLowest);
      unwrap(tryFutimens(copy, timesOf(stat)), "futimens", name);
    });
  });
}

/** Copies the data of a file; holes stay holes. */
function copyContent(source: number, copy: number, size: number): void {
  ftruncate(copy, BigInt(size));
  for (let at = 0n;;) {
    const data = tryLseek(source, at, SEEK_DATA);
    if (data === BigInt(-ENXIO)) return;
    unwrap(Number(data), "lseek");
    const end = lseek(source, data, SEEK_HOLE);
    lseek(source, data, SEEK_SET);
    lseek(copy, data, SEEK_SET);
    copyBytes(source, copy, Number(end - data));
    at = end;
  }
}

function copyBytes(source: number, copy: number, count: number): void {
  for (let left = count; left > 0;) {
    const want = Math.min(left, PIECE);
    let copied = tryCopyFileRange(source, copy, want);
    if (copied < 0) copied = unwrap(trySendfile(copy, source, want), "sendfile");
    if (copied === 0) return;
    left -= copied;
  }
}

function copyLinkUp(found: Found, name: EntryName, stat: Stat, into: number): void {
  const target = tryReadlinkat(found.directory, name);
  if (typeof target === "number") return void unwrap(target, "readlinkat", name);
  const text = decode(target);
  unwrap(liftingProtection(into, () => trySymlinkat(text, into, name)), "symlinkat", name);
  copyNodeAttributes(found, name, stat, into);
}

/** Those of an open file or directory; access lists that it got from the directory around it go. */
function copyAttributes(source: number, copy: number, stat: Stat, isLowest: boolean): void {
  const { names } = xattrNames(source);
  if (!isLowest) checkOverlayReferences(names);
  fchown(copy, stat.uid, stat.gid);
  for (const list of [ACL_ACCESS, ACL_DEFAULT]) removeAttribute(copy, list);
  fchmod(copy, stat.mode & PERMISSIONS);
  for (const key of names.filter(isOfLayer)) {
    const value = fgetxattr(source, key);
    if (value !== undefined) fsetxattr(copy, key, value);
  }
}

/** Those of an entry that cannot be opened without consequences, and its times. */
function copyNodeAttributes(
  { directory }: Found,
  name: EntryName,
  stat: Stat,
  into: number,
): void {
  unwrap(tryLchownat(into, name, stat.uid, stat.gid), "fchownat", name);
  const path = entryPath(into, name);
  if (!stat.isSymlink) {
    removeAttributeAt(into, name, ACL_ACCESS);
    unwrap(tryFchmodat(into, name, stat.mode & PERMISSIONS), "fchmodat", name);
  }
  for (const key of xattrNamesAt(directory, name).names.filter(isOfLayer)) {
    const value = lgetxattr(entryPath(directory, name), key);
    if (value !== undefined) lsetxattr(path, key, value);
  }
  unwrap(tryLutimensat(into, name, timesOf(stat)), "utimensat", name);
}

const timesOf = ({ accessSeconds, accessNanos, seconds, nanos }: Stat) =>
  times.set(accessSeconds, accessNanos, seconds, nanos);
