/**
 * What the kill tests of snapshotters kill: opens a store, unless that is the operation, and does one operation.
 *
 *     snapshotter_child.ts ROOT DRIVER OPERATION
 */
import { untilKilled } from "./point.ts";
import { OPEN, openStore, OPERATIONS } from "./snapshotter.ts";

if (import.meta.main) {
  const [root, driver, operation] = Deno.args;
  if (operation === OPEN) untilKilled(() => openStore(root, driver));
  else {
    const snapshots = openStore(root, driver);
    untilKilled(() => OPERATIONS[operation](snapshots));
  }
}
