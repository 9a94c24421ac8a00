/**
 * The mounts of the store that a command has opened.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { Home } from "../../../store/home.ts";
import { kernelMountPort } from "../../../mount/port.ts";
import { RunState } from "../../../store/run_state.ts";
import { MountedSnapshots } from "../../../snapshots/mounted_snapshots.ts";
import type { Snapshotter } from "../../../snapshots/snapshotter.ts";
import type { CommandContext } from "../context.ts";

export function mountedSnapshots(
  { idMaps }: CommandContext,
  snapshotter: Snapshotter,
): MountedSnapshots {
  const snapshots = dirname(snapshotter.home);
  const store = join(basename(snapshots), snapshotter.driver);
  const home = Home.open(dirname(snapshots), store, idMaps);
  return new MountedSnapshots(snapshotter, home, new RunState(home), kernelMountPort);
}
