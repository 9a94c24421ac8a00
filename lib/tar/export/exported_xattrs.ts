/**
 * The extended attributes of an entry that belong in a tar: capabilities, access control lists, the
 * user's and the administrator's own. Attributes of overlay, a security module or a file system do
 * not leave this machine. An upper directory is not exported if overlay's attributes mark content
 * as elsewhere; in any other tree, such attributes were written by a container that runs
 * containers, and are not followed.
 *
 * @module
 */
import type { EntryName } from "../../../ffi/entry_name.ts";
import { entryPath, fgetxattr, lgetxattr } from "../../../ffi/xattr.ts";
import { checkOverlayReferences } from "../../tree/whiteouts.ts";
import { isOfLayer, type XattrNames, xattrNames, xattrNamesAt } from "../../tree/xattr_names.ts";
import type { Xattr } from "../header.ts";

const NONE: readonly Xattr[] = [];

/** How attributes of an entry are taken. */
export interface XattrsContext {
  /** It is of an upper directory of overlay. */
  readonly isUpper: boolean;
  /** Called if it has attributes that nothing lists, and that are not among those returned. */
  readonly onUnlisted: () => void;
}

/**
 * Of an open file or directory, sorted by name.
 *
 * @throws {VeneerError} `failed precondition` if its content is elsewhere
 */
export function exportedXattrs(fd: number, context: XattrsContext): readonly Xattr[] {
  return values(xattrNames(fd), context, (name) => fgetxattr(fd, name));
}

/** The same of the entry `name` itself, such as a link or device, which is not opened. */
export function exportedXattrsAt(
  dirfd: number,
  name: EntryName,
  context: XattrsContext,
): readonly Xattr[] {
  const get = (key: string) => lgetxattr(entryPath(dirfd, name), key);
  return values(xattrNamesAt(dirfd, name), context, get);
}

function values(
  { names, isWhole }: XattrNames,
  { isUpper, onUnlisted }: XattrsContext,
  get: (name: string) => Uint8Array<ArrayBuffer> | undefined,
): readonly Xattr[] {
  if (!isWhole) onUnlisted();
  if (names.length === 0) return NONE;
  if (isUpper) checkOverlayReferences(names);
  const xattrs: Xattr[] = [];
  for (const name of names.filter(isOfLayer)) {
    const value = get(name);
    if (value) xattrs.push([name, value]);
  }
  return xattrs;
}
