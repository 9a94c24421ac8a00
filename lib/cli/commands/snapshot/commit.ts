/**
 * `veneer snapshot commit`: ends the changes of a snapshot and gives it a name.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { parseLabels } from "./labels.ts";

export const run: Run = async (context) => {
  const { options, operands: [name, key], output } = context;
  const labels = parseLabels(options.values("label"));
  const parent = options.value("parent") || undefined;
  await context.changeSnapshots((snapshotter) => snapshotter.commit(name, key, { labels, parent }));
  output.result({ name, key }, () => []);
};
