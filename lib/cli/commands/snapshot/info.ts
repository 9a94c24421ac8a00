/**
 * A snapshot's fields, as they are printed.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { microsecondTime, secondTime } from "../../times.ts";
import type { SnapshotInfo } from "../../../snapshots/snapshotter.ts";

/** All of them, in JSON's terms: times are RFC 3339, to the microsecond. */
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

/** The kind, and whether a tar was not applied to its end. */
export function kindOf({ kind, incomplete }: SnapshotInfo): string {
  return incomplete ? `${kind}, incomplete` : kind;
}
