/**
 * Trees that change while they are read.
 *
 * @module
 */
import type { Path } from "../../ffi/cstring.ts";
import { ELOOP, ENOENT, ENOTDIR, ENXIO } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";

/**
 * Whether a raw result of a call on an entry means that the entry was removed since its directory
 * was listed, or replaced by another type: a link, a socket, not a directory.
 *
 * @param path for messages
 * @throws {SyscallError} `syscall`, for every other failure
 */
export function isGone(result: number, syscall: string, path: Path): boolean {
  switch (result) {
    case -ENOENT:
    case -ENOTDIR:
    case -ELOOP:
    case -ENXIO:
      return true;
    default:
      unwrap(result, syscall, path);
      return false;
  }
}
