/**
 * Formats the fields of a snapshot.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { microsecondTime, secondTime } from "../../times.ts";
import { OFFERED } from "../../../images/records.ts";
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

/**
 * The kind, and a note if a tar was not applied completely, or if a service offers the layer to
 * containerd, which has not taken it.
 */
export function kindOf({ kind, incomplete, labels }: SnapshotInfo): string {
  if (incomplete) return `${kind}, incomplete`;
  return labels.has(OFFERED) ? `${kind}, offered` : kind;
}
