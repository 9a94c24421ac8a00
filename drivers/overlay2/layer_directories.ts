/**
 * Making the directories of an overlay2 layer, with the owners and modes that Docker gives them.
 *
 * @module
 */
import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { fchmod, fchown, mkdirat, Times, tryFutimens } from "../../ffi/tree.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { fgetxattr, flistxattr, fsetxattr } from "../../ffi/xattr.ts";
import type { IdMaps } from "../../lib/id_maps.ts";
import { isOverlayXattr } from "../../lib/whiteouts.ts";

const DIRECTORY = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** `<id>`: container root's group may pass through to what is mounted below, nobody may list it. */
export function makeLayerDirectory(path: string, { gids }: IdMaps): void {
  makeOwned(path, 0o710, 0, gids.root);
}

/** `work`, which is overlay's own. */
export function makeWork(path: string, { uids, gids }: IdMaps): void {
  makeOwned(path, 0o700, uids.root, gids.root);
}

/**
 * `diff`, the root of what the layer changes.
 *
 * The root of a mount is its upper directory's, so a child's begins as its parent's is: mode, owner,
 * attributes and times.
 */
export function makeDiff(path: string, parentDiff: string | undefined, idMaps: IdMaps): void {
  if (parentDiff === undefined) {
    makeOwned(path, 0o755, idMaps.uids.root, idMaps.gids.root);
    return;
  }
  withFd(open(parentDiff, DIRECTORY), (parent) => {
    const stat = fstat(parent);
    makeOwned(path, stat.mode & 0o7777, stat.uid, stat.gid, (fd) => {
      for (const name of flistxattr(parent).filter((name) => !isOverlayXattr(name))) {
        const value = fgetxattr(parent, name);
        if (value !== undefined) fsetxattr(fd, name, value);
      }
      const { accessSeconds, accessNanos, seconds, nanos } = stat;
      const times = new Times().set(accessSeconds, accessNanos, seconds, nanos);
      unwrap(tryFutimens(fd, times), "futimens", path);
    });
  });
}

/** Makes a directory with exactly this mode, whatever the umask is. */
function makeOwned(
  path: string,
  mode: number,
  uid: number,
  gid: number,
  then: (fd: number) => void = () => {},
): void {
  mkdirat(AT_FDCWD, path, 0o700);
  withFd(open(path, DIRECTORY), (fd) => {
    fchown(fd, uid, gid);
    fchmod(fd, mode);
    then(fd);
  });
}
