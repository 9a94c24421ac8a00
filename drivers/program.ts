/**
 * The program: its commands and all drivers.
 *
 * Nothing is imported that the command at hand does not need.
 *
 * @module
 */
import { dispatch } from "../lib/cli/commands/dispatch.ts";

/** Runs a command line; returns its exit status. */
export function runProgram(args: readonly string[]): Promise<number> {
  return dispatch(args, {
    open: async (options) => (await import("./registry.ts")).openDriver(options),
    openSnapshots: async (options) => (await import("./snapshotters.ts")).openSnapshotter(options),
    openImages: async (options) => (await import("./images.ts")).openImages(options),
    openDocker: async (options) => (await import("./docker_stores.ts")).openDockerStore(options),
    all: async () => (await import("./registry.ts")).loadAll(),
    layersAt: async (root) => (await import("./registry.ts")).priorStores(root),
    snapshotsAt: async (root) => (await import("./snapshotters.ts")).priorSnapshots(root),
    laneStarter: async () => (await import("./lanes.ts")).startLane,
    migrationLanes: async () => {
      const { startMigrationLane, migrationLaneHere } = await import("./lanes.ts");
      return { start: startMigrationLane, here: migrationLaneHere };
    },
    dockerLaneStarter: async () => (await import("./lanes.ts")).startDockerLane,
  });
}
