/**
 * Removes snapshots as a service does: first their records, and later their layers.
 */
import { openSnapshotter } from "../../../drivers/snapshotters.ts";

using snapshots = await openSnapshotter({
  root: Deno.args[0],
  driver: "overlay2",
  foreignUses: "ignore",
  later: () => {},
  purpose: "serve",
});
/** Makes a call that the tracer sees. */
const mark = (name: string) => Deno.openSync(`/proc/self/${name}`);

snapshots.prepare("a", "");
snapshots.prepare("b", "");
mark("comm").close();
snapshots.remove("a");
snapshots.remove("b");
mark("status").close();
snapshots.deleteRemoved();
