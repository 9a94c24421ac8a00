/**
 * Opens a file without a name, which exists while it is open.
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
 * Opens a file without a name for reading and writing; the caller closes it.
 *
 * @param directory a trusted path on the disk for the file
 * @throws {SyscallError}
 */
export function openTemporaryFile(directory: string): number {
  return withFd(open(directory, O_RDONLY | O_DIRECTORY), (fd) => {
    const file = tryReopen(fd, O_TMPFILE | O_RDWR, 0o600);
    // Some file systems cannot open a file without a name; there its name is removed at once.
    if (file !== -EOPNOTSUPP && file !== -EISDIR) return unwrap(file, "open", directory);
    const name = entryName(encode(`.veneer-${crypto.randomUUID()}`));
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    const named = unwrap(tryOpenat(fd, name, flags, 0o600), "openat", directory);
    unlinkat(fd, name);
    return named;
  });
}
