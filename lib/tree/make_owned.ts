/**
 * Makes directories with an exact owner and mode.
 *
 * @module
 */
import { withFd } from "../../ffi/files.ts";
import { fchmod, fchown } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { type ConfinedPath, mkdir, openDirectory } from "./confined.ts";
import { ACL_ACCESS, ACL_DEFAULT, removeAttribute, xattrNames } from "./xattr_names.ts";

/**
 * Creates a directory with exactly this mode, regardless of the umask and of the host's access
 * lists that it inherits from the directory above it.
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
    // Properties that are already right are not set again: the kernel would write them like a
    // change.
    const made = fstat(fd), { names } = xattrNames(fd);
    const lists = [ACL_ACCESS, ACL_DEFAULT].filter((list) => names.includes(list));
    if (made.uid !== uid || made.gid !== gid) fchown(fd, uid, gid);
    for (const list of lists) removeAttribute(fd, list);
    if ((made.mode & 0o7777) !== mode || lists.length > 0) fchmod(fd, mode);
    then(fd);
  });
}
