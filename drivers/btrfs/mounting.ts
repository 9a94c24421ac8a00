/**
 * Other programs' mounts of a layer, and the device of its file system.
 *
 * @module
 */
import { tryLstatMount } from "../../ffi/stat.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { isKernelAtLeast } from "../../lib/base/kernel.ts";
import { type MountInfo, readMountInfo } from "../../lib/mount/mountinfo.ts";
import { type LayerUse, mountsEverywhere } from "../../lib/mount/uses.ts";

/**
 * Throws if the kernel is older than 5.15: its btrfs has no `FS_ALLOW_IDMAP` (`fs/btrfs/super.c`),
 * so it cannot map ids.
 *
 * @throws {VeneerError} `not supported`
 */
export function checkMappedVolume(): void {
  if (isKernelAtLeast(5, 15)) return;
  throw new VeneerError(
    "not supported",
    `btrfs maps ids since Linux 5.15, and this is ${Deno.osRelease()}`,
  );
}

/** The device from which a path's file system was mounted; `""` if it is not found. */
export function deviceOf(path: string): string {
  return mountOf(path)?.source ?? "";
}

/**
 * The mounts of a subvolume, or of something in it, in all mount namespaces.
 *
 * @param path any path on its file system
 * @param id the id of the subvolume
 */
export function mountsOf(path: string, id: bigint): LayerUse[] {
  // All mounts of a file system have its device, which is not the one that `stat` gives for a
  // subvolume.
  const device = mountOf(path)?.device;
  return [...mountsEverywhere(" - btrfs ")].filter(({ mount }) =>
    mount.device === device && mountedSubvolume(mount) === id
  );
}

/**
 * The subvolume of a mount. The kernel writes its id before its path, which may contain any text.
 */
function mountedSubvolume({ superOptions }: MountInfo): bigint | undefined {
  const id = /(?:^|,)subvolid=(\d+)/.exec(superOptions)?.[1];
  return id === undefined ? undefined : BigInt(id);
}

/** The mount that a path lies on. */
function mountOf(path: string): MountInfo | undefined {
  const mount = tryLstatMount(path)?.mountId;
  const mounts = readMountInfo();
  // Kernels before 5.8 do not report a file's mount: then the last btrfs mount above the path is
  // used.
  return mounts.find(({ id }) => BigInt(id) === mount) ??
    mounts.findLast(({ type, mountPoint }) =>
      type === "btrfs" && `${path}/`.startsWith(mountPoint.replace(/\/?$/, "/"))
    );
}
