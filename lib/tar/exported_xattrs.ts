/**
 * The extended attributes of an entry that belong in a tar: capabilities, access control lists, the user's
 * and the administrator's own. What overlay, a security module or a file system keeps for itself does not
 * leave this machine. Where overlay says that content is elsewhere, an upper directory is not exported; in any
 * other tree, what says so was written by a container that runs containers, and nothing follows it.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { ENODATA, ENOENT, EOPNOTSUPP } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { entryPath, fgetxattr, lgetxattr, tryFlistxattr, tryListxattrat } from "../../ffi/xattr.ts";
import { checkOverlayReferences, isOverlayXattr } from "../whiteouts.ts";
import type { Xattr } from "./encode.ts";
import { isTwin } from "./mapped_xattrs.ts";

const NONE: readonly Xattr[] = [];

/**
 * Of an open file or directory, sorted by name.
 *
 * @param isUpper it is of an upper directory of overlay
 * @throws {VeneerError} `failed precondition` where its content is elsewhere
 */
export function exportedXattrs(fd: number, isUpper: boolean): readonly Xattr[] {
  return values(tryFlistxattr(fd), isUpper, (name) => fgetxattr(fd, name));
}

/** The same of the entry `name` itself, such as a link or device, which is not opened. */
export function exportedXattrsAt(
  dirfd: number,
  name: EntryName,
  isUpper: boolean,
): readonly Xattr[] {
  const list = tryListxattrat(dirfd, name);
  return values(list, isUpper, (key) => lgetxattr(entryPath(dirfd, name), key));
}

function values(
  list: Uint8Array | number,
  isUpper: boolean,
  get: (name: string) => Uint8Array<ArrayBuffer> | undefined,
): readonly Xattr[] {
  if (typeof list === "number") {
    if (list !== -EOPNOTSUPP && list !== -ENODATA && list !== -ENOENT) unwrap(list, "listxattr");
    return NONE;
  }
  if (list.length === 0) return NONE;
  const xattrs: Xattr[] = [];
  const names = decode(list.subarray(0, -1)).split("\0");
  if (isUpper) checkOverlayReferences(names);
  for (const name of names.filter(isExported).sort()) {
    const value = get(name);
    if (value) xattrs.push([name, value]);
  }
  return xattrs;
}

function isExported(name: string): boolean {
  return name === "security.capability" || name.startsWith("system.posix_acl_") ||
    (name.startsWith("user.") || name.startsWith("trusted.")) && !isOverlayXattr(name) &&
      !isTwin(name);
}
