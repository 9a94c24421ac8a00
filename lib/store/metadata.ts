/**
 * Metadata files: small, with either the old or the new complete content at any time.
 *
 * A file is written beside its place, synced, renamed over it, and its directory is synced. A name
 * that a killed writer left ends in {@linkcode TEMPORARY_SUFFIX}; it is replaced by the next writer
 * of that name.
 *
 * Any program that once could write to the store may have written them: only a regular file of at
 * most {@linkcode MAX_LENGTH} bytes is read, and no other type of file is opened. Writing never
 * changes an existing file, which may have another name elsewhere.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { EEXIST, EISDIR, ENODEV, ENOENT, ENXIO } from "../../ffi/errno.ts";
import {
  close,
  fsync,
  O_CREAT,
  O_EXCL,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  read,
  tryOpenat,
  withFd,
  writeAll,
  writeBack,
} from "../../ffi/files.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { tryRenameat, tryUnlinkat } from "../../ffi/names.ts";
import {
  type ConfinedPath,
  inParent,
  openDirectory,
  tryInParent,
  tryOpen,
  unwrapConfined,
} from "../tree/confined.ts";
import { VeneerError } from "../base/errors.ts";
import { removeTreeAt } from "../tree/remove_tree.ts";

export const TEMPORARY_SUFFIX = ".veneer-new";

/**
 * The largest record in bytes: far more than the ids of a layer's longest chain, or a thousand old
 * devices.
 */
const MAX_LENGTH = 1 << 20;

/** Replaces (or makes) a metadata file, mode 0600 unless said; it is on disk when this returns. */
export function writeMetadata(path: ConfinedPath, content: string, mode = 0o600): void {
  const temporary = path.withSuffix(TEMPORARY_SUFFIX);
  inParent(path, (directory, name) => {
    const beside = entryName(temporary.name);
    withFd(create(directory, beside, mode, temporary), (fd) => {
      writeAll(fd, encode(content));
      fsync(fd, temporary.text);
    });
    unwrapConfined(tryRenameat(directory, beside, directory, name), "rename", temporary);
    fsync(directory, path.parent.text);
  });
}

/**
 * Makes a mark: an empty file that says something by its name, so that it needs no temporary one.
 * Whatever has the name already is the mark. It is on disk when this returns.
 */
export function makeMark(path: ConfinedPath): void {
  inParent(path, (directory, name) => {
    const fd = tryOpenat(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0o600);
    if (fd !== -EEXIST) close(unwrapConfined(fd, "open", path));
    fsync(directory, path.parent.text);
  });
}

/** How far a file that is written in its place is on its way to the disk. */
export type Reach = "memory" | "file system" | "disk";

/**
 * Writes a file in its place: in a directory that no reader sees yet, such as a layer being made,
 * or one whose readers do not depend on it.
 */
export function writeFile(
  path: ConfinedPath,
  content: string,
  { mode = 0o600, reach = "memory" as Reach } = {},
): void {
  inParent(path, (directory, name) =>
    withFd(create(directory, name, mode, path), (fd) => {
      writeAll(fd, encode(content));
      if (reach === "disk") fsync(fd, path.text);
      else if (reach === "file system") writeBack(fd, path.text);
    }));
}

/** Creates a file of a name and replaces an earlier one. */
function create(directory: number, name: EntryName, mode: number, path: ConfinedPath): number {
  const make = () => tryOpenat(directory, name, O_WRONLY | O_CREAT | O_EXCL, mode);
  let fd = make();
  if (fd === -EEXIST) {
    const result = tryUnlinkat(directory, name);
    if (result === -EISDIR) throw corrupt(path, "is a directory instead of a file");
    if (result !== -ENOENT) unwrapConfined(result, "unlink", path);
    fd = make();
  }
  return unwrapConfined(fd, "open", path);
}

const found = new Stat();

/**
 * A metadata file's content without a trailing newline, or `undefined` if it does not exist.
 *
 * @throws {VeneerError} `corrupt store` with the path, if it is not such a file
 */
export function readMetadata(path: ConfinedPath): string | undefined {
  return readWhole(path)?.replace(/\n$/, "");
}

/** The same with its newline. */
export function readWhole(path: ConfinedPath): string | undefined {
  const fd = tryOpen(path, O_RDONLY | O_NONBLOCK);
  if (fd === -ENOENT) return undefined;
  if (fd === -ENXIO || fd === -ENODEV) throw notAFile(path); // a socket, a device that is not there
  return withFd(unwrapConfined(fd, "open", path), () => {
    const { isFile, size } = fstat(fd, found);
    if (!isFile) throw notAFile(path);
    if (size > MAX_LENGTH) {
      throw corrupt(path, `has ${size} bytes, and no record has more than ${MAX_LENGTH}`);
    }
    return decode(readAtMost(fd, size));
  });
}

/** Reads an open file's first bytes, fewer if it ends before. */
function readAtMost(fd: number, length: number): Uint8Array {
  const buffer = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const got = read(fd, buffer.subarray(at));
    if (got === 0) return buffer.subarray(0, at);
    at += got;
  }
  return buffer;
}

const notAFile = (path: ConfinedPath) => corrupt(path, "is not a regular file");

/**
 * A record that cannot be one: restored from a copy or removed, the rest of the store does not
 * mind.
 */
function corrupt(path: ConfinedPath, what: string): VeneerError {
  return new VeneerError("corrupt store", `${path} ${what}; move it elsewhere`);
}

/**
 * Removes a metadata file, or anything in its place; false if there was nothing. On disk when this
 * returns, unless `sync` is false.
 */
export function removeMetadata(path: ConfinedPath, sync = true): boolean {
  const result = tryInParent(path, (directory, name) => tryUnlinkat(directory, name));
  if (result === -ENOENT) return false;
  if (result === -EISDIR) {
    inParent(path, (directory) => removeTreeAt(directory, path.name, path.text));
  } else unwrapConfined(result, "unlink", path);
  if (sync) syncDirectory(path.parent);
  return true;
}

/** Makes a directory's entries durable. */
export function syncDirectory(path: ConfinedPath): void {
  withFd(openDirectory(path), (fd) => fsync(fd, path.text));
}
