import { assertEquals } from "@std/assert";
import { graphLines } from "../../lib/cli/graph_formats.ts";
import { drawTree, type TreeLayer } from "../../lib/cli/layer_tree.ts";

const draw = (layers: TreeLayer[]) =>
  [...drawTree(layers)].map(({ prefix, layer, oddity }) =>
    prefix + layer.id + (oddity ? ` (${oddity})` : "")
  );

const layers = (text: string): TreeLayer[] =>
  text.trim().split(/\s+/).map((word) => {
    const [id, parent = ""] = word.split("<");
    return { id, parent: parent === "?" ? undefined : parent };
  });

Deno.test("nothing is drawn of an empty store", () => assertEquals(draw([]), []));

Deno.test("only children stay in their parent's column, several branch off", () => {
  assertEquals(
    draw(layers("app<python app-run<app debian python<debian tool<python tool2<tool other")),
    [
      "debian",
      "↳ python",
      "├─ app",
      "│  ↳ app-run",
      "└─ tool",
      "   ↳ tool2",
      "other",
    ],
  );
});

Deno.test("branches nest", () => {
  assertEquals(draw(layers("r a<r b<r a1<a a2<a b1<b b2<b b3<b2")), [
    "r",
    "├─ a",
    "│  ├─ a1",
    "│  └─ a2",
    "└─ b",
    "   ├─ b1",
    "   └─ b2",
    "      ↳ b3",
  ]);
});

Deno.test("layers whose parent is unknown, missing or circular are drawn with the reason", () => {
  assertEquals(draw(layers("x<? y<gone z<y")), [
    "x (unknown parent)",
    "y (parent gone is missing)",
    "↳ z",
  ]);
  assertEquals(draw(layers("a<b b<a c<b self<self")), [
    "a (parents form a circle)",
    "↳ b",
    "└─ c",
    "self (parents form a circle)",
  ]);
});

Deno.test("a chain of 20,000 layers is drawn, each layer once", () => {
  const chain = Array.from({ length: 20_000 }, (_, i) => ({
    id: `l${i}`,
    parent: i === 0 ? "" : `l${i - 1}`,
  }));
  const lines = draw(chain.toReversed());
  assertEquals(lines.length, 20_000);
  assertEquals([lines[0], lines[1], lines[19_999]], ["l0", "↳ l1", "↳ l19999"]);
});

Deno.test("a base with 5,000 children is drawn in their order", () => {
  const wide = [
    { id: "base", parent: "" },
    ...Array.from({ length: 5000 }, (_, i) => ({ id: `c${i}`, parent: "base" })),
  ];
  const lines = draw(wide);
  assertEquals([lines[0], lines[1], lines[5000]], ["base", "├─ c0", "└─ c4999"]);
});

Deno.test("a graph for dot and for Mermaid: names are quoted, a missing parent has no arrow", () => {
  const nodes = [
    { id: "base", parent: "", notes: ["1 KiB"] },
    { id: 'a "b" \\ <c>', parent: "base", notes: [] },
    { id: "lost", parent: "gone", notes: [] },
  ];
  assertEquals([...graphLines("dot", nodes)].join("\n").split("\n"), [
    "digraph layers {",
    "  node [shape=box];",
    '  n0 [label="base\\n1 KiB"];',
    '  n1 [label="a \\"b\\" \\\\134 <c>"];',
    '  n2 [label="lost"];',
    "  n0 -> n1;",
    "}",
  ]);
  assertEquals([...graphLines("mermaid", nodes)], [
    "flowchart TD",
    '  n0["base<br/>1 KiB"]',
    '  n1["a #34;b#34; #92;134 #60;c#62;"]',
    '  n2["lost"]',
    "  n0 --> n1",
  ]);
});
