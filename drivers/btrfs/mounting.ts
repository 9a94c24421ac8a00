/**
 * How others mount a layer.
 *
 * @module
 */
import { tryLstatMount } from "../../ffi/stat.ts";
import { readMountInfo } from "../../lib/mountinfo.ts";

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
