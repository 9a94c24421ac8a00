/**
 * The names of an entry's extended attributes, also if the kernel does not list them.
 *
 * Btrfs and XFS keep more names than `listxattr(2)` gives: a list of over 64 KiB is E2BIG, and any
 * user who may write to a file can cause that. Then the attributes that decide over access or
 * content are queried one by one, so that too many others cannot hide an entry's capabilities or
 * get it past a check.
 *
 * @module
 */
import { decode, type Path } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { E2BIG, ENODATA, ENOENT, EOPNOTSUPP } from "../../ffi/errno.ts";
import { type Subject, unwrap } from "../../ffi/unwrap.ts";
import {
  entryPath,
  fgetxattr,
  lgetxattr,
  tryFlistxattr,
  tryFremovexattr,
  tryListxattrat,
  tryLremovexattr,
} from "../../ffi/xattr.ts";
import { isOverlayXattr, OVERLAY_OPAQUE_XATTR, OVERLAY_REFERENCES } from "./whiteouts.ts";

/** Names of attributes, sorted. */
export interface XattrNames {
  readonly names: readonly string[];
  /** False if the entry has others that nothing lists. */
  readonly isWhole: boolean;
}

/** An access control list, and the default one of a directory for its new entries (acl(5)). */
export const ACL_ACCESS = "system.posix_acl_access";
export const ACL_DEFAULT = "system.posix_acl_default";
export const CAPABILITY = "security.capability";

/**
 * XFS's own form of access control lists, which root is shown beside the one that all file systems
 * have (`fs/xfs/libxfs/xfs_attr.h`).
 */
const XFS_TWINS = ["trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT"];

/**
 * Whether an attribute is only XFS's form of another one: such ones are never applied and never
 * exported.
 */
export function isTwin(name: string): boolean {
  return XFS_TWINS.includes(name);
}

/**
 * Whether an attribute belongs to a layer's content: capabilities, access control lists, the user's
 * and the administrator's own. Attributes of overlay, a security module (labels, hashes) or a file
 * system belong to this machine.
 */
export function isOfLayer(name: string): boolean {
  return name === CAPABILITY || name === ACL_ACCESS || name === ACL_DEFAULT ||
    (name.startsWith("user.") || name.startsWith("trusted.")) && !isOverlayXattr(name) &&
      !isTwin(name);
}

/**
 * Takes an attribute from an open file or directory, if it has it.
 *
 * @param shown how a message names the file
 * @throws {SyscallError}
 */
export function removeAttribute(fd: number, name: string, shown?: string | Subject): void {
  removed(tryFremovexattr(fd, name), `fremovexattr ${name}`, shown);
}

/** The same from the entry `name` itself, which is not opened. */
export function removeAttributeAt(dirfd: number, name: EntryName, key: string): void {
  const result = tryLremovexattr(entryPath(dirfd, name), key);
  removed(result, `lremovexattr ${key}`, name);
}

function removed(result: number, syscall: string, shown: Path | Subject | undefined): void {
  if (result !== -ENODATA && result !== -EOPNOTSUPP) unwrap(result, syscall, shown);
}

/** The attributes queried by name: those that the kernel itself uses, and those of overlay. */
const DECISIVE = [
  CAPABILITY,
  ACL_ACCESS,
  ACL_DEFAULT,
  OVERLAY_OPAQUE_XATTR,
  ...OVERLAY_REFERENCES.map(([name]) => name),
].sort();

const NONE: XattrNames = { names: [], isWhole: true };

/**
 * Of an open file or directory; none if the file system has no attributes.
 *
 * @throws {SyscallError}
 */
export function xattrNames(fd: number): XattrNames {
  return named(tryFlistxattr(fd), "flistxattr", (name) => fgetxattr(fd, name) !== undefined);
}

/** The same of the entry `name` itself, which is not opened; none if it has gone. */
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
