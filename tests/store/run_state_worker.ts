/**
 * A process of its own for `run_state_test.ts`: locks a layer, adds one to its count, again and again; then holds
 * the locks, or forgets homes that are gone.
 */
import { Home } from "../../lib/store/home.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { pruneRunStates } from "../../lib/store/prune_run_states.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { UNUSED } from "../../lib/store/mount_record.ts";

const [root, rounds, final] = Deno.args;
const state = new RunState(Home.open(root, "test", IDENTITY));
for (let i = 0; i < Number(rounds); i++) {
  using lock = state.lockLayer("layer");
  const { count } = lock.references;
  lock.references = { ...UNUSED, count: count + 1 };
}
if (final === "hold") {
  const _held = state.lockLayer("layer");
  const _use = state.use("layer", "exclusive");
  console.log("held");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
if (final === "prune") pruneRunStates(console.error);
