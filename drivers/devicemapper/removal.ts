/**
 * Waits for devices that the kernel removes.
 *
 * The kernel takes a device's name away first, and lets go of the devices below it last. If it
 * removes a device because its last user closed it, a worker of its own does so. Then neither is
 * done when that user's call returns: `dm_deferred_remove` and `__dm_destroy` of `drivers/md/dm.c`.
 * The devices below are closed later still (`close_table_device` there).
 *
 * @module
 */
import { type DeviceInfo, deviceInfo } from "../../ffi/devmapper.ts";
import { EBUSY } from "../../ffi/errno.ts";
import { tryReadlink } from "../../ffi/paths.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";
import { retryBusy } from "./patience.ts";

/** A device's numbers. */
export type Numbers = Pick<DeviceInfo, "major" | "minor">;

/**
 * Waits until a device that is being removed is destroyed: it reads and writes nothing any more.
 *
 * @param patience the longest wait, in milliseconds
 * @returns whether it is
 */
export function waitUntilRemoved(name: string, numbers: Numbers, patience: number): boolean {
  const isRemoved = () => deviceInfo(name) === undefined && isDestroyed(name, numbers);
  return retryBusy(patience, () => isRemoved() ? 0 : -EBUSY) === 0;
}

/** Whether a device without a name is destroyed. */
function isDestroyed(name: string, { major, minor }: Numbers): boolean {
  const device = `/sys/dev/block/${major}:${minor}`;
  if (typeof tryReadlink(device) === "number") return true;
  // The numbers may be another device's already. One that is being removed tells no name.
  const other = nameOf(device);
  return other !== undefined && other !== name;
}

function nameOf(device: string): string | undefined {
  try {
    return readSystemFile(`${device}/dm/name`);
  } catch {
    return undefined; // EINVAL, or ENODEV if it is removed meanwhile
  }
}
