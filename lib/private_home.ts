/**
 * A home of its own propagation: mounts made below it are seen here only, and none that others make below
 * it leak in.
 *
 * The home is bind-mounted on itself once, and that mount is private. The run-time state remembers that, so
 * that {@linkcode releaseHome} takes down Veneer's own mount and never an administrator's.
 *
 * @module
 */
import { EBUSY } from "../ffi/errno.ts";
import { mount, MS_BIND, MS_PRIVATE, tryUmount } from "../ffi/mount.ts";
import { unwrap } from "../ffi/unwrap.ts";
import type { Home } from "./home.ts";
import { isMountPoint } from "./mountinfo.ts";
import type { RunState } from "./run_state.ts";

/** Makes the home a private mount, where it is not one. */
export function makeHomePrivate(home: Home, state: RunState): void {
  using _lock = state.lockStore();
  if (!isMountPoint(home.path)) {
    state.ownsHomeMount = true;
    mount({ source: home.path, target: home.path, flags: MS_BIND });
  }
  mount({ target: home.path, flags: MS_PRIVATE });
}

/**
 * Takes the private mount down again.
 *
 * @returns false where there is none of ours, or something below it is still mounted or open
 */
export function releaseHome(home: Home, state: RunState): boolean {
  using _lock = state.lockStore();
  if (!state.ownsHomeMount || !isMountPoint(home.path)) return false;
  const result = tryUmount(home.path);
  if (result === -EBUSY) return false;
  unwrap(result, "umount", home.path);
  state.ownsHomeMount = false;
  return true;
}
