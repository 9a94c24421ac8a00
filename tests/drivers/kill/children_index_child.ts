/**
 * What the kill cases of the index of children kill: adds to it, and writes it anew.
 *
 *     children_index_child.ts ROOT append|rewrite
 */
import { ChildrenIndex } from "../../../lib/graph/children_index.ts";
import { Home } from "../../../lib/store/home.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { RunState } from "../../../lib/store/run_state.ts";
import { untilKilled } from "./point.ts";

if (import.meta.main) {
  const [root, operation] = Deno.args;
  const home = Home.open(root, "overlay2", IDENTITY);
  const index = new ChildrenIndex(home, new RunState(home), console.error);
  // All of them are gone, or all there.
  const present = operation === "rewrite"
    ? []
    : Array.from({ length: 400 }, (_, i) => `layer-${i}`);
  untilKilled(() => {
    index.load(400);
    for (let i = 200; i < 400; i++) index.add(`layer-${i}`, `${i}-1.1`, [`parent-${i}`]);
    index.save([...present, "layer-0"]);
  });
}
