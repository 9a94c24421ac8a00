/**
 * `veneer snapshot ls`: lists snapshots.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import type { SnapshotInfo, Snapshotter } from "../../../snapshots/snapshotter.ts";
import { checkNames } from "../../../snapshots/filter.ts";
import type { Rows } from "../../columns.ts";
import type { Run } from "../context.ts";
import { secondTime } from "../../times.ts";
import { kindOf, snapshotRow, snapshotToJson } from "./info.ts";

/** The fields of `--format`. */
const FIELDS = ["name", "parent", "kind", "created", "updated", "layer", "size", "bytes", "labels"];

export const run: Run = async (context) => {
  const { options, operands: filters, output } = context;
  checkNames(filters);
  const line = await context.template(FIELDS);
  const table = await context.readSnapshots((snapshotter): Rows => {
    const snapshots = snapshotter.walk(filters);
    if (line !== undefined) {
      const toText = (info: SnapshotInfo) =>
        line(fieldsOf(snapshotter, info), (key) => escapePath(info.labels.get(key) ?? ""));
      output.list(snapshots, () => "", toText);
    } else if (options.flag("null") && !output.json) {
      for (const { name } of snapshots) output.text(`${name}\0`);
    } else if (options.flag("quiet") || options.flag("null")) {
      output.list(snapshots, ({ name }) => name, ({ name }) => escapePath(name));
    } else if (output.json) {
      output.list(snapshots, snapshotToJson, String);
    } else {
      return [["KEY/NAME", "PARENT", "KIND", "CREATED"], ...Array.from(snapshots, snapshotRow)];
    }
    return [];
  });
  await output.listTable(table, options.flag("no-trunc"));
};

/** A snapshot's fields as text. */
function fieldsOf(snapshotter: Snapshotter, info: SnapshotInfo) {
  const { name, parent, created, updated, layer, labels } = info;
  return {
    name: () => escapePath(name),
    parent: () => escapePath(parent),
    kind: () => kindOf(info),
    created: () => secondTime(created),
    updated: () => secondTime(updated),
    layer: () => layer,
    size: () => formatSize(snapshotter.usage(name).bytes),
    bytes: () => String(snapshotter.usage(name).bytes),
    labels: () => Array.from(labels, ([key, value]) => escapePath(`${key}=${value}`)).join(","),
  };
}
