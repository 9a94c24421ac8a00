/**
 * Starts the threads of a service. Only they import the drivers, not the service.
 *
 * @module
 */

/** Starts a lane, which waits for the message that opens its store. */
export function startLane(): Worker {
  return new Worker(new URL("./lane_worker.ts", import.meta.url), { type: "module" });
}

/** The same for an end of a migration. */
export function startMigrationLane(): Worker {
  return new Worker(new URL("./migrate_lane_worker.ts", import.meta.url), { type: "module" });
}

/** The same for a store of Docker's layers. */
export function startDockerLane(): Worker {
  return new Worker(new URL("./docker_lane_worker.ts", import.meta.url), { type: "module" });
}
