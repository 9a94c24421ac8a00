/**
 * Opens a file without a name in a directory of a store.
 *
 * @module
 */
import { O_RDWR, O_TMPFILE, tryReopen, withFd } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { type ConfinedPath, openDirectory } from "./confined.ts";

/**
 * Opens a new file without a name for reading and writing, of mode 0600. The caller closes it.
 *
 * @throws {SyscallError} if the disk is full, or its file system has no such files
 */
export function openUnnamed(directory: ConfinedPath): number {
  return withFd(
    openDirectory(directory),
    (fd) => unwrap(tryReopen(fd, O_TMPFILE | O_RDWR, 0o600), "open", directory.text),
  );
}
