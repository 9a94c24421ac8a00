/**
 * Whether an entry is the same in two trees.
 *
 * Compared are type, mode, owner, and extended attributes that a layer's tar carries; of all but
 * directories also size, modification time to the nanosecond and content: a file's bytes, a link's
 * target, a device's number. If both are the same inode with the same change time, the content is
 * not read. Otherwise it is read even if size and time agree: an edit may keep both.
 *
 * How many names an inode has does not count: entries are compared name by name.
 *
 * @module
 */
import type { EntryName } from "../../ffi/entry_name.ts";
import { close, read } from "../../ffi/files.ts";
import { isSameMemory } from "../../ffi/memory.ts";
import { tryOpenToRead } from "../../ffi/quiet_open.ts";
import type { Stat } from "../../ffi/stat.ts";
import { tryReadlinkat } from "../../ffi/names.ts";
import { entryPath, lgetxattr } from "../../ffi/xattr.ts";
import { isGone } from "./gone.ts";
import { isOfLayer, type XattrNames, xattrNamesAt } from "./xattr_names.ts";

/** Two entries of one name, with their directories and their `statx`. */
export interface Pair {
  readonly parentDirectory: number;
  readonly childDirectory: number;
  /** NUL-terminated. */
  readonly name: EntryName;
  readonly parent: Stat;
  readonly child: Stat;
  /** Tells whether a file is known to hold the same bytes, which then need not be read. */
  readonly hasSameData?: () => boolean;
}

/**
 * Whether both are the same; entries of directories are not compared.
 *
 * @throws {SyscallError} other than for an entry that has gone meanwhile, which is not the same
 */
export function isSameEntry(pair: Pair): boolean {
  const { parent, child } = pair;
  if (parent.mode !== child.mode || parent.uid !== child.uid || parent.gid !== child.gid) {
    return false;
  }
  if (!child.isDirectory) {
    if (parent.size !== child.size || !hasSameTime(parent, child)) return false;
    if (
      child.isDevice &&
      (parent.rdevMajor !== child.rdevMajor || parent.rdevMinor !== child.rdevMinor)
    ) return false;
  }
  if (isUntouched(parent, child)) return true;
  if (!hasSameXattrs(pair)) return false;
  if (child.isFile) return child.size === 0 || pair.hasSameData?.() || hasSameBytes(pair);
  return !child.isSymlink || hasSameTarget(pair);
}

function hasSameTime(a: Stat, b: Stat): boolean {
  return a.nanos === b.nanos && a.seconds === b.seconds;
}

/** The same inode, and nothing was changed in it: any change sets its change time. */
function isUntouched(a: Stat, b: Stat): boolean {
  return a.isSameInode(b) && a.changeNanos === b.changeNanos &&
    a.changeSeconds === b.changeSeconds;
}

function hasSameTarget({ parentDirectory, childDirectory, name }: Pair): boolean {
  const target = tryReadlinkat(parentDirectory, name);
  if (typeof target === "number") return !isGone(target, "readlinkat", name);
  const copy = target.slice();
  const other = tryReadlinkat(childDirectory, name);
  if (typeof other === "number") return !isGone(other, "readlinkat", name);
  return copy.length === other.length && isSameMemory(copy, other, copy.length);
}

function hasSameXattrs({ parentDirectory, childDirectory, name }: Pair): boolean {
  const { names, isWhole } = countedNames(parentDirectory, name);
  const { names: others, isWhole: othersAreWhole } = countedNames(childDirectory, name);
  // Attributes that are not listed may differ.
  if (!isWhole || !othersAreWhole) return false;
  if (names.length !== others.length) return false;
  if (!names.every((key, i) => key === others[i])) return false;
  return names.every((key) => {
    const value = lgetxattr(entryPath(parentDirectory, name), key);
    const other = lgetxattr(entryPath(childDirectory, name), key);
    return value?.length === other?.length &&
      (!value || !other || isSameMemory(value, other, value.length));
  });
}

/** The names of an entry's attributes that count. */
function countedNames(dirfd: number, name: EntryName): XattrNames {
  const { names, isWhole } = xattrNamesAt(dirfd, name);
  return { names: names.filter(isOfLayer), isWhole };
}

/** 256 KiB at a time of each file. */
const PIECE = 256 << 10;
const parentPiece = new Uint8Array(PIECE), childPiece = new Uint8Array(PIECE);

function hasSameBytes({ parentDirectory, childDirectory, name }: Pair): boolean {
  const parent = tryOpenToRead(parentDirectory, name);
  if (parent < 0) return !isGone(parent, "openat", name);
  try {
    const child = tryOpenToRead(childDirectory, name);
    if (child < 0) return !isGone(child, "openat", name);
    try {
      for (;;) {
        const length = fill(parent, parentPiece);
        if (fill(child, childPiece) !== length) return false;
        if (!isSameMemory(parentPiece, childPiece, length)) return false;
        if (length < PIECE) return true;
      }
    } finally {
      close(child);
    }
  } finally {
    close(parent);
  }
}

/** Reads until the buffer is full or the file at its end; returns how much was read. */
function fill(fd: number, buffer: Uint8Array<ArrayBuffer>): number {
  let length = 0;
  while (length < buffer.length) {
    const rest = length === 0 ? buffer : buffer.subarray(length);
    const got = read(fd, rest);
    if (got === 0) break;
    length += got;
  }
  return length;
}
