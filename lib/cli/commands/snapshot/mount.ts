/**
 * `veneer snapshot mount`: mounts a snapshot and prints the path of its root.
 *
 * @module
 */
import { idmapOf } from "../idmap.ts";
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";

export const run: Run = (context) =>
  context.changeSnapshots((snapshotter) => {
    const { operands: [text, directory], options, output } = context;
    const key = findKey(context, snapshotter, text);
    const path = snapshotter.mount(key, directory, { idMaps: idmapOf(options) });
    output.result({ key, path }, () => [path]);
  });
