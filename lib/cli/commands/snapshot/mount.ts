/**
 * `veneer snapshot mount`: mounts a snapshot and prints the path of its root.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = (context) =>
  context.changeSnapshots((snapshotter) => {
    const { operands: [text, directory], output } = context;
    const key = findKey(context, snapshotter, text);
    const path = snapshotter.mount(key, directory);
    output.result({ key, path }, () => [path]);
  });
