/**
 * Unmounting what others may look at meanwhile.
 *
 * @module
 */
import { EBUSY } from "../../ffi/errno.ts";
import { tryUmount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { sleep } from "../base/sleep.ts";
import { readMountInfo } from "./mountinfo.ts";

/**
 * How often a busy mount is unmounted again if nothing is mounted below it, and how many
 * milliseconds apart. A command that lists or checks a store holds a path for moments, and aufs
 * lets go of its branches in work of its own, up to 7 ms after the unmount.
 */
const BUSY_RETRIES = 10, BUSY_PAUSE = 10;

/**
 * `umount2(2)` without following a link, raw: 0 or `-errno`. A mount that another process only
 * looks at is not busy: a tenth of a second decides. A mount below it ends the wait at once.
 *
 * @param pause waits between two tries, for some milliseconds
 */
export function tryUnmountUnused(path: string, pause = sleep): number {
  for (let left = BUSY_RETRIES;; left--) {
    const result = tryUmount(path, UMOUNT_NOFOLLOW);
    if (result !== -EBUSY || left === 0 || hasMountsBelow(path)) return result;
    pause(BUSY_PAUSE);
  }
}

/** As {@linkcode tryUnmountUnused}. @throws {SyscallError} */
export function unmountUnused(path: string): void {
  unwrap(tryUnmountUnused(path), "umount2", path);
}

/** Whether something is mounted in a directory, apart from the directory itself. */
export const hasMountsBelow = (path: string): boolean =>
  readMountInfo().some(({ mountPoint }) => mountPoint.startsWith(`${path}/`));
