/**
 * `df` and `snapshot df` as a user runs them.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { TestStore } from "../support/commands.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");
const MIB = 1024 * 1024;

interface Use {
  id: string;
  name: string;
  own: number;
  shared: number;
  reclaimable: number;
  heldBy: string | null;
}

interface Report {
  layers: Use[];
  snapshots: Use[];
  own: number;
  reclaimable: number;
  free: number;
  size: number;
}

/** Writes a file of so many MiB, which take space. */
function write(path: string, mebibytes: number): void {
  Deno.writeFileSync(path, new Uint8Array(mebibytes * MIB).fill(7));
}

/** Checks that a count is that of some MiB and at most some metadata. */
function assertAbout(bytes: number, mebibytes: number): void {
  const least = mebibytes * MIB;
  assert(least <= bytes && bytes < least + MIB / 2, `${bytes} bytes, not about ${mebibytes} MiB`);
}

needs(lacking, "cli: df tells what layers take, the largest first, and what could go", () => {
  using store = new TestStore();
  for (const [id, parent, size] of [["base", "", 4], ["app", "base", 2], ["tool", "base", 1]]) {
    store.must("create", `${id}`, ...parent === "" ? [] : ["--parent", `${parent}`]);
    write(join(store.must("mount", `${id}`).trimEnd(), `${id}`), Number(size));
    store.must("umount", `${id}`);
  }
  store.must("mount", "tool");
  const { layers, own, reclaimable, free, size } = store.json<Report>("df");
  assertEquals(layers.map(({ id, heldBy }) => [id, heldBy]), [
    ["base", "2 children"],
    ["app", null],
    ["tool", "1 use"],
  ]);
  const [base, app, tool] = layers;
  for (const [layer, added] of [[base, 4], [app, 2], [tool, 1]] as const) {
    assertAbout(layer.own, added);
  }
  assertEquals([base.shared, app.shared, tool.shared], [0, base.own, base.own]);
  assertEquals([base.reclaimable, app.reclaimable, tool.reclaimable], [0, app.own, 0]);
  assertEquals([own, reclaimable], [base.own + app.own + tool.own, app.own]);
  assert(0 < free && free < size);

  const text = store.must("df", "--bytes");
  assertMatch(text, new RegExp(`^app +${app.own} +${base.own} +${app.own}$`, "m"));
  assertStringIncludes(text, `${store.hint("rm", "app")} gives ${app.own} back\n`);
  store.must("umount", "tool");
  store.must("rm", "app", "tool");
  assertStringIncludes(store.must("df"), `${store.hint("rm", "base")} gives 4`);
});

needs(lacking, "cli: snapshot df: mounted snapshots and those with children are held", () => {
  using store = new TestStore();
  store.must("snapshot", "prepare", "base-key");
  write(join(store.must("snapshot", "mount", "base-key").trimEnd(), "base"), 2);
  store.must("snapshot", "umount", "base-key");
  store.must("snapshot", "commit", "base", "base-key");
  store.must("snapshot", "prepare", "work", "--parent", "base");
  write(join(store.must("snapshot", "mount", "work").trimEnd(), "work"), 1);

  const mounted = store.json<Report>("snapshot", "df").snapshots;
  assertEquals(mounted.map(({ name, heldBy }) => [name, heldBy]), [
    ["base", "child work"],
    ["work", "a mount"],
  ]);
  store.must("snapshot", "umount", "work");
  const { snapshots: [base, work], reclaimable } = store.json<Report>("snapshot", "df");
  assertAbout(work.own, 1);
  assertEquals([work.shared, work.reclaimable, reclaimable], [base.own, work.own, work.own]);
  assertStringIncludes(
    store.must("snapshot", "df"),
    `${store.hint("snapshot", "rm", "work")} gives 1`,
  );
});

needs(lacking, "cli: tree and snapshot tree as a graph for programs that draw", () => {
  using store = new TestStore();
  store.must("create", "base");
  store.must("create", "app", "--parent", "base");
  const dot = store.must("tree", "--format", "dot");
  assertStringIncludes(
    dot,
    `  n0 [label="app\\n0 B"];\n  n1 [label="base\\n0 B"];\n  n1 -> n0;\n}\n`,
  );
  store.must("snapshot", "prepare", "work");
  const mermaid = 'flowchart TD\n  n0["work<br/>active"]';
  assertEquals(store.must("snapshot", "tree", "--format=mermaid", "--brief"), `${mermaid}\n`);
  const { graph } = store.json<{ graph: string }>(
    "snapshot",
    "tree",
    "--format=mermaid",
    "--brief",
  );
  assertEquals(graph, mermaid);
});
