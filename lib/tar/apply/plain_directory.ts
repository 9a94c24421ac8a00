/**
 * What a directory is that a tar has no entry for and no parent either.
 *
 * @module
 */
import { fchmod, fchown } from "../../../ffi/names.ts";
import { isOfLayer, removeAttribute, xattrNames } from "../../tree/xattr_names.ts";

/** The mode of such a directory, whatever the umask and the directory around it are. */
export const PLAIN_MODE = 0o755;

/** To whom what has no owner of its own belongs. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Gives an open directory the owner and mode of a plain one, and takes its attributes away. */
export function makePlain(fd: number, { uid, gid }: Owner): void {
  fchown(fd, uid, gid);
  for (const key of xattrNames(fd).names.filter(isOfLayer)) removeAttribute(fd, key);
  fchmod(fd, PLAIN_MODE);
}
