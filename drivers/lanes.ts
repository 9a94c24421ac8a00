/**
 * Starts the threads of a service or a migration. Only they import the drivers, not the service.
 *
 * @module
 */
import { laneHere } from "../lib/services/lanes/here.ts";
import type { LanePort } from "../lib/services/lanes/protocol.ts";

/** Starts a lane, which waits for the message that opens its store. */
export function startLane(): Worker {
  return new Worker(new URL("./lane_worker.ts", import.meta.url), { type: "module" });
}

/** The same for an end of a migration. */
export function startMigrationLane(): Worker {
  return new Worker(new URL("./migrate_lane_worker.ts", import.meta.url), { type: "module" });
}

/** An end of a migration on the calling thread. */
export async function migrationLaneHere(): Promise<LanePort> {
  return laneHere((await import("./migrate_lane.ts")).serveMigration);
}

/** Starts a lane for a store of Docker's layers. */
export function startDockerLane(): Worker {
  return new Worker(new URL("./docker_lane_worker.ts", import.meta.url), { type: "module" });
}
