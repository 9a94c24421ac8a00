/**
 * The mounts of the store that a command has opened.
 *
 * @module
 */
import { kernelMountPort } from "../../../mount/port.ts";
import { MountedSnapshots } from "../../../snapshots/mounted_snapshots.ts";
import type { Snapshotter } from "../../../snapshots/snapshotter.ts";
import { storeHome } from "../../../snapshots/store_home.ts";
import type { CommandContext } from "../context.ts";

export function mountedSnapshots(
  { idMaps }: CommandContext,
  snapshotter: Snapshotter,
): MountedSnapshots {
  const { home, state } = storeHome(snapshotter.home, idMaps);
  return new MountedSnapshots(snapshotter, home, state, kernelMountPort);
}
