/**
 * How a layer is mounted where it has to be: for reading only, and by others.
 *
 * @module
 */
import { MS_BIND, MS_RDONLY, MS_REMOUNT } from "../../ffi/mount.ts";
import { tryLstatMount } from "../../ffi/stat.ts";
import type { MountStep } from "../../lib/mount_plan.ts";
import { type MountInfo, readMountInfo } from "../../lib/mountinfo.ts";

/** Mounts a directory on itself, read-only; a bind mount takes no flags but by a remount. */
export function mountReadOnly(path: string): MountStep[] {
  const mount = { source: path, target: path, type: "", data: "" };
  return [
    { kind: "mount", ...mount, flags: MS_BIND },
    { kind: "append", ...mount, flags: MS_BIND | MS_REMOUNT | MS_RDONLY },
  ];
}

/** The device that the file system of a path was mounted from. */
export function deviceOf(path: string): string {
  return mountOf(path)?.source ?? "";
}

/**
 * Where a subvolume, or something in it, is mounted in this mount namespace.
 *
 * @param path any path on its file system
 * @param id the subvolume's
 */
export function mountPointOf(path: string, id: bigint): string | undefined {
  // All mounts of a file system have its device, which is not the one that `stat` gives for a subvolume.
  const device = mountOf(path)?.device;
  return readMountInfo().find((mount) =>
    mount.type === "btrfs" && mount.device === device && mountedSubvolume(mount) === id
  )?.mountPoint;
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
  // Kernels before 5.8 do not say which mount it is: the last one above the path, then.
  return mounts.find(({ id }) => BigInt(id) === mount) ??
    mounts.findLast(({ type, mountPoint }) =>
      type === "btrfs" && `${path}/`.startsWith(mountPoint.replace(/\/?$/, "/"))
    );
}
