/**
 * `veneer snapshot mount`: mounts a snapshot and prints the path of its root.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { findKey } from "./keys.ts";
import { mountedSnapshots } from "./mounting.ts";

export const run: Run = (context) =>
  context.changeSnapshots((snapshotter) => {
    const { operands: [text, directory], output } = context;
    const key = findKey(context, snapshotter, text);
    const mounted = mountedSnapshots(context, snapshotter);
    const path = directory === undefined ? mounted.mount(key) : mounted.mountAt(key, directory);
    output.result({ key, path }, () => [path]);
  });
