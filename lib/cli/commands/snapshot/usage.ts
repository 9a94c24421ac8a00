/**
 * `veneer snapshot usage`: prints the space that snapshots add.
 *
 * @module
 */
import { formatColumns } from "../../columns.ts";
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = (context) =>
  context.readSnapshots((snapshotter) => {
    const { options, operands, output } = context;
    const names = operands.length === 0
      ? Array.from(snapshotter.walk(), ({ name }) => name)
      : operands.map((operand) => findKey(context, snapshotter, operand));
    const usages = names.map((name) => ({ name, ...snapshotter.usage(name) }));
    const size = options.flag("bytes") ? String : formatSize;
    if (output.json) return output.list(usages, (usage) => usage, String);
    const rows = usages.map(({ name, bytes, inodes }) => [
      escapePath(name),
      size(bytes),
      String(inodes),
    ]);
    for (const line of formatColumns([["KEY/NAME", "SIZE", "INODES"], ...rows])) output.line(line);
  });
