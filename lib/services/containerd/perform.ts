/**
 * Carries out a call of the snapshots service on a store: the part that runs in a lane.
 *
 * @module
 */
import type { Snapshotter } from "../../snapshots/snapshotter.ts";
import { type SnapshotCall, writeEmpty, writeList, writeMounts, writeStat } from "./messages.ts";

/**
 * @returns the messages of the answer
 * @throws {VeneerError} as the snapshotter does
 */
export function perform(
  snapshotter: Snapshotter,
  call: SnapshotCall,
): Uint8Array<ArrayBuffer>[] {
  switch (call.method) {
    case "prepare":
    case "view":
      return writeMounts(snapshotter[call.method](call.key, call.parent, { labels: call.labels }));
    case "mounts":
      return writeMounts(snapshotter.mounts(call.key));
    case "commit":
      snapshotter.commit(call.name, call.key, { labels: call.labels, parent: call.parent });
      return writeEmpty();
    case "remove":
      snapshotter.remove(call.key);
      return writeEmpty();
    case "stat":
      return writeStat(snapshotter.stat(call.key));
    case "list":
      return writeList(snapshotter.walk(call.filters));
  }
}
