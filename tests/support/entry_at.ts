/**
 * Calls on directory entries, for tests that have paths.
 *
 * @module
 */
import { basename, dirname } from "@std/path";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { O_DIRECTORY, O_PATH, open, withFd } from "../../ffi/files.ts";

/** Opens the directory above `path` and calls `use` with it and the last name. */
export function entryAt<T>(path: string, use: (dirfd: number, name: EntryName) => T): T {
  return withFd(
    open(dirname(path), O_PATH | O_DIRECTORY),
    (dirfd) => use(dirfd, entryName(basename(path))),
  );
}
