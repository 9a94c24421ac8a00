/**
 * The command line: brings commands and drivers together.
 *
 * Nothing is imported that the command at hand does not need, so that a program which is asked for
 * its version starts as fast as its runtime does.
 *
 * @module
 */
import { VERSION } from "./lib/cli/version.ts";

if (!isVersionPrinted()) {
  const { dispatch } = await import("./lib/cli/commands/dispatch.ts");
  Deno.exit(
    await dispatch(Deno.args, {
      open: async (options) => (await import("./drivers/registry.ts")).openDriver(options),
      openSnapshots: async (options) =>
        (await import("./drivers/snapshotters.ts")).openSnapshotter(options),
      openImages: async (options) => (await import("./drivers/images.ts")).openImages(options),
      openDocker: async (options) =>
        (await import("./drivers/docker_stores.ts")).openDockerStore(options),
      all: async () => (await import("./drivers/registry.ts")).loadAll(),
      layersAt: async (root) => (await import("./drivers/registry.ts")).priorStores(root),
      snapshotsAt: async (root) => (await import("./drivers/snapshotters.ts")).priorSnapshots(root),
      laneStarter: async () => (await import("./drivers/lanes.ts")).startLane,
      migrationLanes: async () => {
        const { startMigrationLane, migrationLaneHere } = await import("./drivers/lanes.ts");
        return { start: startMigrationLane, here: migrationLaneHere };
      },
      dockerLaneStarter: async () => (await import("./drivers/lanes.ts")).startDockerLane,
    }),
  );
}

/**
 * Prints the version if only that is asked for. Errors are left to the command, which reports them.
 */
function isVersionPrinted(): boolean {
  if (Deno.args.length !== 1 || Deno.args[0] !== "--version") return false;
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(`veneer ${VERSION}\n`));
    return true;
  } catch {
    return false;
  }
}
