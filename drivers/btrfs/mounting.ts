/**
 * How a layer is mounted where it has to be: for reading only, and by others.
 *
 * @module
 */
import { MS_BIND, MS_RDONLY, MS_REMOUNT } from "../../ffi/mount.ts";
import { tryLstatMount } from "../../ffi/stat.ts";
import type { MountStep } from "../../lib/mount_plan.ts";
import { readMountInfo } from "../../lib/mountinfo.ts";

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
  const mount = tryLstatMount(path)?.mountId;
  const mounts = readMountInfo();
  // Kernels before 5.8 do not say which mount it is: the last one above the path, then.
  const own = mounts.find(({ id }) => BigInt(id) === mount) ??
    mounts.findLast(({ type, mountPoint }) =>
      type === "btrfs" && `${path}/`.startsWith(mountPoint.replace(/\/?$/, "/"))
    );
  return own?.source ?? "";
}
