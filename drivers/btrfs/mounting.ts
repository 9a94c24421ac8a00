/**
 * How others mount a layer.
 *
 * @module
 */
import { tryLstatMount } from "../../ffi/stat.ts";
import { type MountInfo, readMountInfo } from "../../lib/mount/mountinfo.ts";
import { type LayerUse, mountsEverywhere } from "../../lib/mount/uses.ts";

/** The device that the file system of a path was mounted from. */
export function deviceOf(path: string): string {
  return mountOf(path)?.source ?? "";
}

/**
 * The mounts of a subvolume, or of something in it, in all mount namespaces.
 *
 * @param path any path on its file system
 * @param id the subvolume's
 */
export function mountsOf(path: string, id: bigint): LayerUse[] {
  // All mounts of a file system have its device, which is not the one that `stat` gives for a
  // subvolume.
  const device = mountOf(path)?.device;
  return [...mountsEverywhere(" - btrfs ")].filter(({ mount }) =>
    mount.device === device && mountedSubvolume(mount) === id
  );
}

/** The kernel writes the id before the path, in which anything may stand. */
function mountedSubvolume({ superOptions }: MountInfo): bigint | undefined {
  const id = /(?:^|,)subvolid=(\d+)/.exec(superOptions)?.[1];
  return id === undefined ? undefined : BigInt(id);
}

/** The mount that a path lies on. */
function mountOf(path: string): MountInfo | undefined {
  const mount = tryLstatMount(path)?.mountId;
  const mounts = readMountInfo();
  // Kernels before 5.8 do not report the mount of a file; there the last one above the path counts.
  return mounts.find(({ id }) => BigInt(id) === mount) ??
    mounts.findLast(({ type, mountPoint }) =>
      type === "btrfs" && `${path}/`.startsWith(mountPoint.replace(/\/?$/, "/"))
    );
}
