/**
 * Removing entries and everything below them, by descriptors: links are removed, never followed.
 *
 * @module
 */
import { readEntries } from "../../ffi/directory.ts";
import { decode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { EISDIR, ENOENT, ENOTEMPTY, EPERM } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, tryOpenat, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { AT_REMOVEDIR, tryUnlinkat } from "../../ffi/tree.ts";
import { unwrap } from "../../ffi/unwrap.ts";

/** Says which entries stay: told by their directory's inode number and their NUL-terminated name. */
export type Keep = (directory: bigint, name: EntryName) => boolean;

/**
 * Removes an entry, if it is there, with all below it.
 *
 * @param name NUL-terminated
 * @param keep of these, those that stay; a directory stays where it is kept or holds something kept
 */
export function removeEntry(dirfd: number, name: EntryName, keep?: Keep): void {
  const kept = keep?.(fstat(dirfd).inode, name) ?? false;
  if (!kept) {
    const result = tryUnlinkat(dirfd, name);
    if (result === 0 || result === -ENOENT) return;
    // Linux says EISDIR, POSIX EPERM.
    if (result !== -EISDIR && result !== -EPERM) unwrap(result, "unlinkat", name);
  }
  const fd = tryOpenat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) {
    if (kept) return;
    unwrap(fd, "openat", name);
  }
  withFd(fd, (directory) => removeEntriesOf(directory, keep));
  if (kept) return;
  const result = tryUnlinkat(dirfd, name, AT_REMOVEDIR);
  if (keep !== undefined && result === -ENOTEMPTY) return;
  unwrap(result, "unlinkat", decode(name.subarray(0, -1)));
}

/** Empties a directory, but for what is kept. `directory` was just opened for reading. */
export function removeEntriesOf(directory: number, keep?: Keep): void {
  for (const { name } of readEntries(directory)) removeEntry(directory, name, keep);
}
