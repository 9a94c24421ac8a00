/**
 * Opening what a walk reads: nothing is followed, nothing blocks, nothing is left behind.
 *
 * With `O_NOATIME` reading a tree writes nothing to its disk; Linux grants it to a file's owner and to
 * CAP_FOWNER, so it is given up for good at the first refusal.
 *
 * @module
 */
import { EPERM } from "./errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, tryOpenat } from "./files.ts";
import type { Path } from "./cstring.ts";

/** `asm-generic/fcntl.h`, the same on x86_64 and aarch64. */
const O_NOATIME = 0o1000000;

let noAccessTime = O_NOATIME;

/**
 * Opens an entry for reading, raw: a descriptor or `-errno` (`ELOOP` for a symbolic link). Fifos do not
 * block it; check what was opened with `fstat` all the same.
 */
export function tryOpenToRead(dirfd: number, path: Path): number {
  return tryOpenQuietly(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}

/** Opens a directory for listing, raw: a descriptor or `-errno` (`ENOTDIR` for all that is none). */
export function tryOpenDirectory(dirfd: number, path: Path): number {
  return tryOpenQuietly(dirfd, path, O_RDONLY | O_NOFOLLOW | O_DIRECTORY);
}

function tryOpenQuietly(dirfd: number, path: Path, flags: number): number {
  const fd = tryOpenat(dirfd, path, flags | noAccessTime);
  if (fd !== -EPERM || noAccessTime === 0) return fd;
  noAccessTime = 0;
  return tryOpenat(dirfd, path, flags);
}
