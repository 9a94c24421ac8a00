/**
 * The names of an entry's extended attributes, also where the kernel does not list them.
 *
 * Btrfs and XFS keep more names than `listxattr(2)` gives: a list of over 64 KiB is E2BIG, and who may write to
 * a file can bring that about. Then the attributes that decide over access or content are asked for one by one,
 * so that no entry is without its capabilities, and none gets past a check, by having too many others.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { E2BIG, ENODATA, ENOENT, EOPNOTSUPP } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { entryPath, fgetxattr, lgetxattr, tryFlistxattr, tryListxattrat } from "../../ffi/xattr.ts";
import { OVERLAY_OPAQUE_XATTR, OVERLAY_REFERENCES } from "./whiteouts.ts";

/** Names of attributes, sorted. */
export interface XattrNames {
  readonly names: readonly string[];
  /** False where the entry has others that nothing lists. */
  readonly isWhole: boolean;
}

/** What is asked for by name: what the kernel itself goes by, and what overlay does. */
const DECISIVE = [
  "security.capability",
  "system.posix_acl_access",
  "system.posix_acl_default",
  OVERLAY_OPAQUE_XATTR,
  ...OVERLAY_REFERENCES.map(([name]) => name),
].sort();

const NONE: XattrNames = { names: [], isWhole: true };

/** Of an open file or directory; none where the file system has no attributes. @throws {SyscallError} */
export function xattrNames(fd: number): XattrNames {
  return named(tryFlistxattr(fd), "flistxattr", (name) => fgetxattr(fd, name) !== undefined);
}

/** The same of the entry `name` itself, which is not opened; none where it has gone. */
export function xattrNamesAt(dirfd: number, name: EntryName): XattrNames {
  const list = tryListxattrat(dirfd, name);
  return named(list, "listxattrat", (key) => lgetxattr(entryPath(dirfd, name), key) !== undefined);
}

function named(
  list: Uint8Array | number,
  syscall: string,
  has: (name: string) => boolean,
): XattrNames {
  if (typeof list !== "number") {
    if (list.length === 0) return NONE;
    return { names: decode(list.subarray(0, -1)).split("\0").sort(), isWhole: true };
  }
  if (list === -E2BIG) return { names: DECISIVE.filter(has), isWhole: false };
  if (list !== -EOPNOTSUPP && list !== -ENODATA && list !== -ENOENT) unwrap(list, syscall);
  return NONE;
}
