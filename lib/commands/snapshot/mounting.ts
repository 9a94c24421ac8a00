/**
 * The mounts of the store that a command has opened.
 *
 * @module
 */
import { dirname } from "@std/path";
import { Home } from "../../home.ts";
import { kernelMountPort } from "../../mount_port.ts";
import { RunState } from "../../run_state.ts";
import { MountedSnapshots } from "../../snapshots/mounted_snapshots.ts";
import type { Snapshotter } from "../../snapshotter.ts";
import type { CommandContext } from "../context.ts";

export function mountedSnapshots(
  { idMaps }: CommandContext,
  snapshotter: Snapshotter,
): MountedSnapshots {
  const home = Home.open(dirname(snapshotter.home), snapshotter.driver, idMaps);
  return new MountedSnapshots(snapshotter, home, new RunState(home), kernelMountPort);
}
