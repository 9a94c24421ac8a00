/** A process that is killed while it writes the index of children costs readings, and nothing else. */
import { assert, assertEquals } from "@std/assert";
import { ChildrenIndex } from "../../lib/graph/children_index.ts";
import { Home } from "../../lib/store/home.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { needs, type TempDir } from "../support/cases.ts";
import { lacksKilling } from "../drivers/kill/graph.ts";
import { killBeforeEveryCall } from "../drivers/kill/killing.ts";

function open({ path }: TempDir): ChildrenIndex {
  const home = Home.open(`${path}/root`, "overlay2", IDENTITY);
  return new ChildrenIndex(home, new RunState(home), (message) => {
    throw new Error(message);
  });
}

function add(index: ChildrenIndex, from: number, to: number): void {
  index.load(400);
  for (let i = from; i < to; i++) index.add(`layer-${i}`, `${i}-1.1`, [`parent-${i}`]);
  index.save(Array.from({ length: to }, (_, i) => `layer-${i}`));
}

/** How many of the layers are known; what is known of them must be right. */
function known(dir: TempDir): number {
  const index = open(dir);
  index.load(400);
  let count = 0;
  for (let i = 0; i < 400; i++) {
    const parents = index.parents(`layer-${i}`, `${i}-1.1`);
    if (parents === undefined) continue;
    assertEquals(parents, [`parent-${i}`]);
    count++;
  }
  return count;
}

for (const operation of ["append", "rewrite"]) {
  needs(
    lacksKilling,
    `children index: killed before every system call of ${operation}`,
    () =>
      killBeforeEveryCall({
        name: `children index ${operation}`,
        script: "children_index_child.ts",
        arguments: ({ path }) => [`${path}/root`, operation],
        prepare: (dir) => add(open(dir), 0, 200),
        verify: (dir, _before, done) => {
          const count = known(dir);
          const expected = operation === "append" ? [200, 400] : [200, 1];
          assert(done ? count === expected[1] : expected.includes(count), `${count} are known`);
          add(open(dir), 0, 400);
          assertEquals(known(dir), 400);
          // What was being written beside it goes when the next process writes it anew.
          const own = `${dir.path}/root/overlay2/.veneer`;
          Deno.removeSync(`${own}/children`);
          add(open(dir), 0, 400);
          assertEquals([...Deno.readDirSync(own)].filter(({ isFile }) => isFile).length, 1);
        },
      }),
  );
}
