/**
 * Making the directories that layers consist of.
 *
 * @module
 */
import { withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { fchmod, fchown, Times, tryFutimens } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { fgetxattr, fsetxattr } from "../../ffi/xattr.ts";
import { type ConfinedPath, mkdir, openDirectory } from "../../lib/tree/confined.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  isOfLayer,
  removeAttribute,
  xattrNames,
} from "../../lib/tree/xattr_names.ts";

/**
 * Makes the directory that a union mount writes a layer's changes to.
 *
 * The root of a mount is its uppermost directory's, so a child's begins as its parent's is: mode,
 * owner, attributes and times. A base layer's is container root's, 0755.
 */
export function makeLayerRoot(
  path: ConfinedPath,
  parentRoot: ConfinedPath | undefined,
  { uids, gids }: IdMaps,
): void {
  if (parentRoot === undefined) {
    makeOwned(path, 0o755, uids.root, gids.root);
    return;
  }
  withFd(openDirectory(parentRoot), (parent) => {
    const stat = fstat(parent);
    makeOwned(path, stat.mode & 0o7777, stat.uid, stat.gid, (fd) => {
      for (const name of xattrNames(parent).names.filter(isOfLayer)) {
        const value = fgetxattr(parent, name);
        if (value !== undefined) fsetxattr(fd, name, value);
      }
      const { accessSeconds, accessNanos, seconds, nanos } = stat;
      const times = new Times().set(accessSeconds, accessNanos, seconds, nanos);
      unwrap(tryFutimens(fd, times), "futimens", path.text);
    });
  });
}

/**
 * Creates a directory with exactly this mode, regardless of the umask and of access lists that the
 * directory around it hands down, which are the host's.
 */
export function makeOwned(
  path: ConfinedPath,
  mode: number,
  uid: number,
  gid: number,
  then: (fd: number) => void = () => {},
): void {
  mkdir(path, 0o700);
  withFd(openDirectory(path), (fd) => {
    // What is right already is not set again: that would be written like any change.
    const made = fstat(fd), { names } = xattrNames(fd);
    const lists = [ACL_ACCESS, ACL_DEFAULT].filter((list) => names.includes(list));
    if (made.uid !== uid || made.gid !== gid) fchown(fd, uid, gid);
    for (const list of lists) removeAttribute(fd, list);
    if ((made.mode & 0o7777) !== mode || lists.length > 0) fchmod(fd, mode);
    then(fd);
  });
}
