/**
 * Metadata files: small, and either the old or the new whole content, whatever happens.
 *
 * A file is written beside its place, synced, renamed over it, and its directory is synced. A name that a
 * killed writer left ends in {@linkcode TEMPORARY_SUFFIX}; it is replaced by the next writer of that name.
 *
 * @module
 */
import { dirname } from "@std/path";
import { decode, encode } from "../ffi/cstring.ts";
import { ENOENT } from "../ffi/errno.ts";
import {
  fsync,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  open,
  readToEnd,
  tryOpen,
  withFd,
  writeAll,
} from "../ffi/files.ts";
import { rename, tryUnlink } from "../ffi/paths.ts";
import { unwrap } from "../ffi/unwrap.ts";

export const TEMPORARY_SUFFIX = ".veneer-new";

/** Replaces (or makes) a metadata file, mode 0600 unless said; it is on disk when this returns. */
export function writeMetadata(path: string, content: string, mode = 0o600): void {
  const temporary = path + TEMPORARY_SUFFIX;
  writeFile(temporary, content, mode, true);
  rename(temporary, path);
  syncDirectory(dirname(path));
}

/** Writes a file in a directory that no reader sees yet, such as a layer being made: no rename is needed. */
export function writeFile(path: string, content: string, mode = 0o600, sync = false): void {
  withFd(open(path, O_WRONLY | O_CREAT | O_TRUNC, mode), (fd) => {
    writeAll(fd, encode(content));
    if (sync) fsync(fd, path);
  });
}

/** A metadata file's content without a trailing newline, or `undefined` where there is none. */
export function readMetadata(path: string): string | undefined {
  const fd = tryOpen(path, O_RDONLY);
  if (fd === -ENOENT) return undefined;
  return withFd(unwrap(fd, "open", path), (fd) => decode(readToEnd(fd)).replace(/\n$/, ""));
}

/** Removes a metadata file; false where there was none. On disk when this returns, unless `sync` is false. */
export function removeMetadata(path: string, sync = true): boolean {
  const result = tryUnlink(path);
  if (result === -ENOENT) return false;
  unwrap(result, "unlink", path);
  if (sync) syncDirectory(dirname(path));
  return true;
}

/** Makes a directory's entries durable. */
export function syncDirectory(path: string): void {
  withFd(open(path, O_RDONLY | O_DIRECTORY), (fd) => fsync(fd, path));
}
