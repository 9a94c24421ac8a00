/**
 * `veneer snapshot usage`: prints the space that snapshots add.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = async (context) => {
  const { options, operands, output } = context;
  const usages = await context.readSnapshots((snapshotter) => {
    const names = operands.length === 0
      ? Array.from(snapshotter.walk(), ({ name }) => name)
      : operands.map((operand) => findKey(context, snapshotter, operand));
    return names.map((name) => ({ name, ...snapshotter.usage(name) }));
  });
  if (output.json) return output.list(usages, (usage) => usage, String);
  const size = options.flag("bytes") ? String : formatSize;
  const rows = usages.map(({ name, bytes, inodes }) => [
    escapePath(name),
    size(bytes),
    String(inodes),
  ]);
  await output.table([["KEY/NAME", "SIZE", "INODES"], ...rows]);
};
