/**
 * Looking for a snapshot that may be missing.
 *
 * @module
 */
import { codeOf } from "../base/errors.ts";
import type { SnapshotInfo, Snapshotter } from "../snapshots/snapshotter.ts";

/** The snapshot of a name or key; `undefined` if there is none. */
export function tryStat(snapshotter: Snapshotter, name: string): SnapshotInfo | undefined {
  try {
    return snapshotter.stat(name);
  } catch (error) {
    if (codeOf(error) === "not found") return undefined;
    throw error;
  }
}
