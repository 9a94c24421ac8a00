/**
 * `veneer snapshot ls`: lists snapshots.
 *
 * @module
 */
import { formatColumns } from "../../columns.ts";
import { escapePath } from "../../../base/printable.ts";
import type { Run } from "../context.ts";
import { snapshotRow, snapshotToJson } from "./info.ts";

export const run: Run = (context) => {
  const { options, operands: filters, output } = context;
  return context.readSnapshots((snapshotter) => {
    const snapshots = snapshotter.walk(filters);
    if (options.flag("null") && !output.json) {
      for (const { name } of snapshots) output.text(`${name}\0`);
    } else if (options.flag("quiet") || options.flag("null")) {
      output.list(snapshots, ({ name }) => name, ({ name }) => escapePath(name));
    } else if (output.json) {
      output.list(snapshots, snapshotToJson, String);
    } else {
      const header = ["KEY/NAME", "PARENT", "KIND", "CREATED"];
      const rows = Array.from(snapshots, snapshotRow);
      for (const line of formatColumns([header, ...rows])) output.line(line);
    }
  });
};
