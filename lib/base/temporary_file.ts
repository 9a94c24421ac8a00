/**
 * A file without a name, for as long as it is open.
 *
 * @module
 */
import { entryName } from "../../ffi/entry_name.ts";
import { EISDIR, EOPNOTSUPP } from "../../ffi/errno.ts";
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  open,
  tryOpenat,
  tryReopen,
  withFd,
} from "../../ffi/files.ts";
import { encode } from "../../ffi/cstring.ts";
import { unlinkat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";

/**
 * Opens one for reading and writing; the caller closes it.
 *
 * @param directory on the disk that has room for it; an administrator's path
 * @throws {SyscallError}
 */
export function openTemporaryFile(directory: string): number {
  return withFd(open(directory, O_RDONLY | O_DIRECTORY), (fd) => {
    const file = tryReopen(fd, O_TMPFILE | O_RDWR, 0o600);
    // Not every file system has files without a name from the beginning.
    if (file !== -EOPNOTSUPP && file !== -EISDIR) return unwrap(file, "open", directory);
    const name = entryName(encode(`.veneer-${crypto.randomUUID()}`));
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    const named = unwrap(tryOpenat(fd, name, flags, 0o600), "openat", directory);
    unlinkat(fd, name);
    return named;
  });
}
