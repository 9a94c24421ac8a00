/**
 * A home with private propagation: mounts made below it are visible in this namespace only, and
 * mounts made below it elsewhere do not appear here.
 *
 * The home is bind-mounted on itself once in each mount namespace, and that mount is private. The
 * run-time state remembers in which namespaces, and the mount's id there, so that
 * {@linkcode releaseHome} takes down Veneer's own mount, and neither an administrator's nor a copy
 * that another namespace inherited.
 *
 * A layer mounted while the home is not would be hidden by the home's next mount, and writes to it
 * lost. So {@linkcode withPrivateHome} checks each time, and holds the home until the layer's mount
 * exists and holds it. Other programs take no such lock: while something is mounted below a home
 * that is not a mount, such as the root of a daemon's container, the home stays as it is.
 *
 * @module
 */
import { EBUSY } from "../../ffi/errno.ts";
import { mount, MS_BIND, MS_PRIVATE } from "../../ffi/mount.ts";
import { calls } from "../../ffi/trace.ts";
import { tryLstatMount } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { Home } from "./home.ts";
import { isMountPoint } from "../mount/mountinfo.ts";
import { hasMountsBelow, tryUnmountUnused } from "../mount/unmount.ts";
import type { RunState } from "./run_state.ts";

/** Makes the home a private mount, if that hides nothing, and lets `mountLayer` mount below it. */
export function withPrivateHome(home: Home, state: RunState, mountLayer: () => void): void {
  using _hold = state.holdHome();
  if (isMountPoint(home.path) || bindHome(home, state)) {
    calls.tell?.(`mount --make-private ${home.path}`);
    mount({ target: home.path, flags: MS_PRIVATE });
  }
  mountLayer();
}

/**
 * False if that would hide a mount, or for a read-only home: such a mount would stay read-only
 * after the home's file system becomes writable.
 */
function bindHome(home: Home, state: RunState): boolean {
  using _lock = state.lockStore();
  if (isMountPoint(home.path)) return true;
  if (home.isReadOnly || hasMountsBelow(home.path)) return false;
  state.homeMount = "";
  calls.tell?.(`mount --bind ${home.path} on itself`);
  mount({ source: home.path, target: home.path, flags: MS_BIND });
  state.homeMount = mountId(home.path);
  return true;
}

/**
 * Takes the private mount down again.
 *
 * @returns false if there is no mount of Veneer's, or something below it is mounted, being mounted
 * or open
 */
export function releaseHome(home: Home, state: RunState): boolean {
  if (!isHomeMountOurs(home, state)) return false;
  using lock = state.tryLockHome();
  if (lock === undefined || !isHomeMountOurs(home, state)) return false;
  calls.tell?.(`umount ${home.path}, the home's mount on itself`);
  const result = tryUnmountUnused(home.path);
  if (result === -EBUSY) return false;
  unwrap(result, "umount", home.path);
  state.homeMount = undefined;
  return true;
}

/**
 * The homes to release at the end of this process by {@linkcode releaseHome}, by the place of their
 * records.
 */
const kept = new Map<string, () => void>();

/**
 * Takes the private mount down at the end of this process: making and releasing it each time would
 * cost a layer's `get` and `put` a tenth of their time. Until then {@linkcode releaseHome} may do
 * it, here or in another process. That of a process which is killed goes with the next one that
 * unmounts a layer, or with `cleanup`.
 *
 * In a Worker, which gets no event at its end, the mount is taken down at once.
 *
 * @param warn gets a line if it cannot be taken down
 */
export function releaseHomeAtEnd(
  home: Home,
  state: RunState,
  warn: Warn,
): void {
  const release = () => {
    try {
      releaseHome(home, state);
    } catch (error) {
      warn(`${home.path} stays mounted on itself: ${messageOf(error)}`);
    }
  };
  if ("WorkerGlobalScope" in globalThis) return release();
  globalThis.addEventListener("unload", releaseKept, { once: true });
  kept.set(recordsOf(state), release);
}

function releaseKept(): void {
  for (const release of kept.values()) release();
  kept.clear();
}

/** Releases at once a home that {@linkcode releaseHomeAtEnd} left for the end of this process. */
export function releaseHomeNow(state: RunState): void {
  const key = recordsOf(state);
  kept.get(key)?.();
  kept.delete(key);
}

const recordsOf = (state: RunState) => state.path("home-mounts").text;

/** Whether the home is mounted on itself in this mount namespace, and Veneer did that. */
export function isHomeMountOurs(home: Home, state: RunState): boolean {
  const recorded = state.homeMount;
  if (recorded === undefined || !isMountPoint(home.path)) return false;
  return recorded === "" || recorded === mountId(home.path);
}

/** The id of the mount on a path; `"0"` before Linux 5.8, which does not report it. */
const mountId = (path: string) => String(tryLstatMount(path)?.mountId ?? 0n);
