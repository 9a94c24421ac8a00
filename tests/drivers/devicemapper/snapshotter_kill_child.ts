/**
 * What the kill tests of devicemapper's snapshots kill.
 *
 *     snapshotter_kill_child.ts killer ROOT prepare|view|commit|remove [OPTION…]
 */
import { OPERATIONS } from "../kill/snapshotter.ts";
import { openSnapshots } from "./snapshotter_support.ts";
import { beginHere, endHere } from "../kill/killer.ts";

if (import.meta.main) {
  const [by, root, operation, ...options] = Deno.args;
  const snapshots = openSnapshots(root, () => {}, options);
  beginHere(by as "killer");
  OPERATIONS[operation](snapshots);
  endHere(0);
}
