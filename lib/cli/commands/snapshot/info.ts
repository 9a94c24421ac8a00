/**
 * Formats the fields of a snapshot.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { microsecondTime, secondTime } from "../../times.ts";
import type { SnapshotInfo } from "../../../snapshots/snapshotter.ts";

/** All fields, for JSON: times are RFC 3339, with microseconds. */
export function snapshotToJson(
  { name, parent, kind, labels, created, updated, layer, incomplete }: SnapshotInfo,
) {
  return {
    name,
    parent,
    kind,
    labels: Object.fromEntries(labels),
    created: microsecondTime(created),
    updated: microsecondTime(updated),
    layer,
    ...incomplete && { incomplete },
  };
}

/** A line of `snapshot ls`. */
export function snapshotRow(info: SnapshotInfo): string[] {
  const { name, parent, created } = info;
  return [escapePath(name), escapePath(parent), kindOf(info), secondTime(created)];
}

/** The kind, and a note if a tar was not applied completely. */
export function kindOf({ kind, incomplete }: SnapshotInfo): string {
  return incomplete ? `${kind}, incomplete` : kind;
}
