/**
 * A home of its own propagation: mounts made below it are seen here only, and none that others make below
 * it leak in.
 *
 * The home is bind-mounted on itself once, and that mount is private. The run-time state remembers that, so
 * that {@linkcode releaseHome} takes down Veneer's own mount and never an administrator's.
 *
 * A layer that is mounted while the home is not would be hidden by the next such mount, and what is written
 * to it lost. So {@linkcode withPrivateHome} looks anew each time, and holds the home until the layer's mount
 * is there and does the holding. Other programs hold no such lock: while something is mounted below a home that is
 * no mount, such as the root of a daemon's container, the home stays as it is.
 *
 * @module
 */
import { EBUSY } from "../../ffi/errno.ts";
import { mount, MS_BIND, MS_PRIVATE, tryUmount } from "../../ffi/mount.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import type { Home } from "./home.ts";
import { isMountPoint, readMountInfo } from "../mount/mountinfo.ts";
import type { RunState } from "./run_state.ts";

/** Makes the home a private mount, if that hides nothing, and lets `mountLayer` mount below it. */
export function withPrivateHome(home: Home, state: RunState, mountLayer: () => void): void {
  using _hold = state.holdHome();
  if (isMountPoint(home.path) || bindHome(home, state)) {
    mount({ target: home.path, flags: MS_PRIVATE });
  }
  mountLayer();
}

/**
 * False if that would hide a mount, or for a read-only home: such a mount would stay read-only when the home's file
 * system is so no more.
 */
function bindHome(home: Home, state: RunState): boolean {
  using _lock = state.lockStore();
  if (isMountPoint(home.path)) return true;
  if (home.isReadOnly || hasMountsBelow(home.path)) return false;
  state.ownsHomeMount = true;
  mount({ source: home.path, target: home.path, flags: MS_BIND });
  return true;
}

const hasMountsBelow = (path: string) =>
  readMountInfo().some(({ mountPoint }) => mountPoint.startsWith(`${path}/`));

/**
 * Takes the private mount down again.
 *
 * @returns false where there is none of ours, or something below it is mounted, being mounted or open
 */
export function releaseHome(home: Home, state: RunState): boolean {
  using lock = state.tryLockHome();
  if (lock === undefined || !state.ownsHomeMount || !isMountPoint(home.path)) return false;
  const result = tryUmount(home.path);
  if (result === -EBUSY) return false;
  unwrap(result, "umount", home.path);
  state.ownsHomeMount = false;
  return true;
}
