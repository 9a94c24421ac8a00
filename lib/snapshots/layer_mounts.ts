/**
 * Where a layer that is a directory is mounted, in this process's mount namespace.
 *
 * @module
 */
import { tryLstatMount } from "../../ffi/stat.ts";
import { VeneerError } from "../errors.ts";
import { requireNothingMountedIn } from "../inner_mounts.ts";
import { type MountInfo, readMountInfo, readMountInfoWith } from "../mountinfo.ts";

/**
 * Refuses a layer that is mounted: bound to another place, or as whatever `shows` says is a mount of it; and
 * one in which something is mounted.
 *
 * @param path  the directory of its content
 * @param tail  the end of the path that is the layer's alone, `<layer>/fs`: mounts whose line has it
 *              are looked at, all others, however many, are not
 * @param shows whether a union mount is of this layer
 * @param more  union mounts of this layer whose lines do not name it
 * @throws {VeneerError} `in use` with the mount point
 */
export function checkUnmounted(
  { layer, path, tail }: { layer: string; path: string; tail: string },
  shows: (mount: MountInfo) => boolean,
  more: readonly MountInfo[] = [],
): void {
  requireNothingMountedIn({ what: `layer ${layer}`, trees: [path], mark: tail });
  const mounts = readMountInfoWith(tail);
  if (mounts.length + more.length === 0) return;
  const own = rootOf(path);
  const binds = (mount: MountInfo) =>
    own === undefined
      ? `${mount.root}/`.includes(`/${tail}/`)
      : mount.device === own.device && `${mount.root}/`.startsWith(`${own.root}/`);
  const found = [...mounts.filter((mount) => shows(mount) || binds(mount)), ...more];
  if (found.length === 0) return;
  const [{ mountPoint }] = found;
  const others = found.length > 1 ? ` and at ${found.length - 1} more` : "";
  throw new VeneerError(
    "in use",
    `layer ${layer} is mounted at ${mountPoint}${others}; \`umount ${mountPoint}\` first`,
  );
}

/**
 * What a bind mount of a directory has as its device and root; `undefined` on kernels before 5.8, which do
 * not say on which mount a directory is.
 */
function rootOf(path: string): { device: string; root: string } | undefined {
  const id = tryLstatMount(path)?.mountId ?? 0n;
  if (id === 0n) return undefined;
  const mount = readMountInfo().find((mount) => BigInt(mount.id) === id);
  if (mount === undefined) return undefined;
  const { device, root, mountPoint } = mount;
  const below = mountPoint === "/" ? path : path.slice(mountPoint.length);
  return { device, root: root === "/" ? below : root + below };
}
