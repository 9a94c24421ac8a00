/**
 * What every snapshotter does, as cases that any driver can be put through.
 *
 * A driver's test file calls {@linkcode snapshotterConformance}; every case has a store of its own on the file
 * system under test, which is emptied afterwards, and fails where that leaves a mount, a layer, an intention or
 * a lock.
 */
import { commits } from "./commits.ts";
import { content } from "./content.ts";
import { deep } from "./deep.ts";
import { keys } from "./keys.ts";
import { model } from "./model.ts";
import { mounts } from "./mounts.ts";
import { peers } from "./peers.ts";
import { records } from "./records.ts";
import { type SnapshotterSubject, SnapshotterSuite } from "./suite.ts";
import { transfers } from "./transfers.ts";
import { usage } from "./usage.ts";

export type { SnapshotterSubject };

/** Registers every case for a driver. */
export function snapshotterConformance(subject: SnapshotterSubject): void {
  const suite = new SnapshotterSuite(subject);
  for (
    const register of [
      peers,
      content,
      deep,
      records,
      keys,
      commits,
      mounts,
      transfers,
      usage,
      model,
    ]
  ) {
    register(suite);
  }
}
