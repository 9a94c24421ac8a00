/**
 * `veneer snapshot label`: sets and removes labels.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { snapshotToJson } from "./info.ts";
import { parseLabels } from "./labels.ts";

export const run: Run = async (context) => {
  const { operands: [name, ...words], output } = context;
  const labels = parseLabels(words);
  const fields = Array.from(labels.keys(), (key) => `labels.${key}`);
  const info = await context.changeSnapshots((snapshotter) =>
    snapshotter.update({ name, labels }, fields)
  );
  output.result(snapshotToJson(info), () => []);
};
