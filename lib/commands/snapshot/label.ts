/**
 * `veneer snapshot label`: sets and removes labels.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { snapshotToJson } from "./info.ts";
import { readLabels } from "./labels.ts";

export const run: Run = async (context) => {
  const { operands: [name, ...words], output } = context;
  const given = readLabels(words);
  const labels = new Map([...given].filter(([, value]) => value !== ""));
  const fields = Array.from(given.keys(), (key) => `labels.${key}`);
  const info = await context.withSnapshots((snapshotter) =>
    snapshotter.update({ name, labels }, fields)
  );
  output.result(snapshotToJson(info), () => []);
};
