/**
 * Looks up a snapshot that may be missing.
 *
 * @module
 */
import { codeOf } from "../base/errors.ts";
import type { SnapshotInfo, Snapshotter } from "../snapshots/snapshotter.ts";

/** The snapshot with a name or key; `undefined` if it does not exist. */
export function tryStat(snapshotter: Snapshotter, name: string): SnapshotInfo | undefined {
  try {
    return snapshotter.stat(name);
  } catch (error) {
    if (codeOf(error) === "not found") return undefined;
    throw error;
  }
}
