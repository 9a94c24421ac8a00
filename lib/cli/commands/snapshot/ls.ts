/**
 * `veneer snapshot ls`: lists snapshots.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { checkNames } from "../../../snapshots/filter.ts";
import type { Rows } from "../../columns.ts";
import type { Run } from "../context.ts";
import { snapshotRow, snapshotToJson } from "./info.ts";

export const run: Run = async (context) => {
  const { options, operands: filters, output } = context;
  checkNames(filters);
  const table = await context.readSnapshots((snapshotter): Rows => {
    const snapshots = snapshotter.walk(filters);
    if (options.flag("null") && !output.json) {
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
