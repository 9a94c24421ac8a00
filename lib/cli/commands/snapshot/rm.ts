/**
 * `veneer snapshot rm`: removes snapshots, and continues after a failure.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { removeEach } from "../remove_each.ts";

export const run: Run = (context) =>
  context.changeSnapshots((snapshotter) => removeEach(context, (key) => snapshotter.remove(key)));
