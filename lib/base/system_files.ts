/**
 * Reading and writing the kernel's small files in `/proc` and `/sys`.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import { ENOENT } from "../../ffi/errno.ts";
import { O_RDONLY, O_WRONLY, open, readToEnd, tryOpen, withFd, writeAll } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";

/** A file's content without a trailing newline, or `undefined` if it does not exist. */
export function readSystemFile(path: string): string | undefined {
  const fd = tryOpen(path, O_RDONLY);
  if (fd === -ENOENT) return undefined;
  return withFd(unwrap(fd, "open", path), (fd) => decode(readToEnd(fd)).replace(/\n$/, ""));
}

/** Writes to a file that the kernel has. */
export function writeSystemFile(path: string, text: string): void {
  withFd(open(path, O_WRONLY), (fd) => writeAll(fd, encode(text)));
}
