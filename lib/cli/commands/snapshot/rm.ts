/**
 * `veneer snapshot rm`: removes snapshots, going on past those that cannot be.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { removeEach } from "../remove_each.ts";
import { mountedSnapshots } from "./mounting.ts";

export const run: Run = (context) =>
  context.changeSnapshots((snapshotter) => {
    const mounted = mountedSnapshots(context, snapshotter);
    return removeEach(context, (key) => {
      mounted.whileUnmounted(key, () => snapshotter.remove(key));
    });
  });
