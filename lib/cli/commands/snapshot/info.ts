/**
 * A snapshot's fields, as they are printed.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import type { SnapshotInfo } from "../../../snapshots/snapshotter.ts";

/** All of them, in JSON's terms: times are RFC 3339, to the microsecond. */
export function snapshotToJson(
  { name, parent, kind, labels, created, updated, layer }: SnapshotInfo,
) {
  return {
    name,
    parent,
    kind,
    labels: Object.fromEntries(labels),
    created: microsecondTime(created),
    updated: microsecondTime(updated),
    layer,
  };
}

/** A line of `snapshot ls`. */
export function snapshotRow({ name, parent, kind, created }: SnapshotInfo): string[] {
  return [escapePath(name), escapePath(parent), kind, secondTime(created)];
}

/** `2026-11-21T11:33:18Z` */
export function secondTime(microseconds: number): string {
  return microsecondTime(microseconds).replace(/\.\d+/, "");
}

/** `2026-11-21T11:33:18.123456Z` */
function microsecondTime(microseconds: number): string {
  const rest = String(microseconds % 1000).padStart(3, "0");
  return new Date(Math.floor(microseconds / 1000)).toISOString().replace("Z", `${rest}Z`);
}
