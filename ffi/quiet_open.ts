/**
 * Opening files for a walk: links are not followed, no call blocks, access times stay.
 *
 * With `O_NOATIME` reading a tree writes nothing to its disk; Linux grants it to a file's owner and
 * to CAP_FOWNER, so it is not used any more after the first refusal.
 *
 * @module
 */
import { EPERM } from "./errno.ts";
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_BENEATH,
  RESOLVE_NO_XDEV,
  tryOpenat,
  tryOpenat2,
  tryOpenParent,
  tryReopen,
} from "./files.ts";
import type { EntryName } from "./entry_name.ts";

/** `asm-generic/fcntl.h`, the same on x86_64 and aarch64. */
const O_NOATIME = 0o1000000;

const DIRECTORY = O_RDONLY | O_DIRECTORY;

let noAccessTime = O_NOATIME;

/**
 * Opens an entry for reading, raw: a descriptor or `-errno` (`ELOOP` for a symbolic link). Fifos do
 * not block it; check the type of the opened file with `fstat`.
 */
export function tryOpenToRead(dirfd: number, name: EntryName): number {
  return tryOpenQuietly(dirfd, name, O_RDONLY | O_NONBLOCK);
}

/**
 * Opens a directory for listing, raw: a descriptor or `-errno`: `ENOTDIR` for anything else,
 * `EXDEV` for a mount point.
 */
export function tryOpenDirectory(dirfd: number, name: EntryName): number {
  return quietly(
    (flags) => tryOpenat2(dirfd, name, flags | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_XDEV),
    DIRECTORY,
  );
}

/** Opens a directory again, from its start, for listing; raw. */
export function tryReopenDirectory(directory: number): number {
  return quietly((flags) => tryReopen(directory, flags), DIRECTORY);
}

/**
 * Opens the directory above an open one for listing, raw. The caller must check that it is the
 * expected one.
 */
export function tryOpenParentDirectory(directory: number): number {
  return quietly((flags) => tryOpenParent(directory, flags), DIRECTORY);
}

function tryOpenQuietly(dirfd: number, name: EntryName, flags: number): number {
  return quietly((quiet) => tryOpenat(dirfd, name, quiet), flags);
}

function quietly(open: (flags: number) => number, flags: number): number {
  const fd = open(flags | noAccessTime);
  if (fd !== -EPERM || noAccessTime === 0) return fd;
  noAccessTime = 0;
  return open(flags);
}
