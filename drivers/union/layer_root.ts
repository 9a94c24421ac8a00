/**
 * Makes the directories of layers.
 *
 * @module
 */
import { withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { Times, tryFutimens } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { fgetxattr, fsetxattr } from "../../ffi/xattr.ts";
import { type ConfinedPath, openDirectory } from "../../lib/tree/confined.ts";
import { makeOwned } from "../../lib/tree/make_owned.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IDENTITY, type IdMaps } from "../../lib/base/id_maps.ts";
import { toLayer, UnmappedId } from "../../lib/tar/mapped_xattrs.ts";
import { isOfLayer, xattrNames } from "../../lib/tree/xattr_names.ts";

export { makeOwned };

/**
 * Makes the directory that a union mount writes a layer's changes to.
 *
 * A mount's root has the mode, owner, attributes and times of the uppermost directory, so those of
 * the parent's root are copied. A base layer's root belongs to container root and has mode 0755.
 *
 * @param remap the maps with which the directories below are mounted, but not this one
 * @throws {VeneerError} `invalid argument` if an access list cannot be mapped
 */
export function makeLayerRoot(
  path: ConfinedPath,
  parentRoot: ConfinedPath | undefined,
  { uids, gids }: IdMaps,
  remap: IdMaps = IDENTITY,
): void {
  if (parentRoot === undefined) {
    const [uid, gid] = ownerIn(remap, uids.root, gids.root);
    makeOwned(path, 0o755, uid, gid);
    return;
  }
  withFd(openDirectory(parentRoot), (parent) => {
    const stat = fstat(parent);
    const [uid, gid] = ownerIn(remap, stat.uid, stat.gid);
    makeOwned(path, stat.mode & 0o7777, uid, gid, (fd) => {
      for (const name of xattrNames(parent).names.filter(isOfLayer)) {
        const value = fgetxattr(parent, name);
        if (value !== undefined) fsetxattr(fd, name, remapped(name, value, remap));
      }
      const { accessSeconds, accessNanos, seconds, nanos } = stat;
      const times = new Times().set(accessSeconds, accessNanos, seconds, nanos);
      unwrap(tryFutimens(fd, times), "futimens", path.text);
    });
  });
}

/** The owner under maps; root's for ids that they do not have. */
const ownerIn = ({ uids, gids }: IdMaps, uid: number, gid: number): [uid: number, gid: number] => [
  uids.toHost(uid) ?? uids.root,
  gids.toHost(gid) ?? gids.root,
];

/** @throws {VeneerError} `invalid argument` if an access list has an id that is not in the map */
function remapped(name: string, value: Uint8Array<ArrayBuffer>, remap: IdMaps) {
  try {
    return toLayer(name, value, remap);
  } catch (error) {
    if (!(error instanceof UnmappedId)) throw error;
    throw new VeneerError(
      "invalid argument",
      `the root of the parent: ${error.message}, which the id map does not have`,
    );
  }
}
