/**
 * The properties of a directory that neither a tar's entry nor a parent defines.
 *
 * @module
 */
import { fchmod, fchown, Times, tryFutimens, UTIME_NOW } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { isOfLayer, removeAttribute, xattrNames } from "../../tree/xattr_names.ts";

/** The mode of such a directory, independent of the umask and the directory around it. */
export const PLAIN_MODE = 0o755;

/** The owner of files without a defined owner. */
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

/** Does the same to a directory that is left of another one, as if it had just been made. */
export function makeAnew(fd: number, owner: Owner): void {
  makePlain(fd, owner);
  unwrap(tryFutimens(fd, new Times().set(0, UTIME_NOW, 0, UTIME_NOW)), "futimens");
}
