/**
 * What the kill tests of devicemapper's snapshots kill.
 *
 *     devicemapper_snapshotter_kill_child.ts killer ROOT prepare|view|commit|remove
 */
import { OPERATIONS } from "../drivers/snapshotter_kill.ts";
import { openSnapshots } from "./devicemapper_snapshotter_support.ts";
import { beginHere, endHere } from "./killer.ts";

if (import.meta.main) {
  const [by, root, operation] = Deno.args;
  const snapshots = openSnapshots(root, () => {});
  beginHere(by as "killer");
  OPERATIONS[operation](snapshots);
  endHere(0);
}
