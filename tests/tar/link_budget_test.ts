/**
 * What links may add to the paths of one tar, all in all.
 *
 * @module
 */
import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import {
  bytes,
  concat,
  dir,
  file,
  hardlink,
  pax,
  record,
  symlink,
  tar,
  type TarEntry,
} from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

type Parts = readonly (TarEntry | Uint8Array)[];

const REFUSAL = "lead through links to too many directories";
const times = (count: number, make: (i: number) => Parts) =>
  Array.from({ length: count }, (_, i) => make(i)).flat();
const longLink = (target: string, name: string) => [pax({ linkpath: target }), symlink("x", name)];

/** Two thousand directories, one in the other. */
const DEEP = Array(2000).fill("a").join("/");
/** One link to them, that has another name in each of `count` new directories, and a file below each. */
const chains = (count: number): Parts => [
  ...longLink(DEEP, "s"),
  ...times(count, (i) => [hardlink("s", `t${i}/s`), file(`t${i}/s/f`, "")]),
];
/** Links that go to and fro, more than are kept, and entries that go through each in turn. */
const zigzags = (links: number, entry: (path: string, i: number) => TarEntry): Parts => [
  dir("a"),
  dir("t"),
  file("t/f", ""),
  ...times(links, (i) => longLink("a/../".repeat(818) + "t", `s${i}`)),
  ...times(1500, (i) => [entry(`s${i % links}/f`, i)]),
];

/** How many directories there are whose path is one that can be opened by it. */
function directoriesIn(root: string): number {
  let count = 0;
  for (const names = [root]; names.length > 0;) {
    const path = names.pop()!;
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      if (isDirectory && ++count && path.length < 3000) names.push(`${path}/${name}`);
    }
  }
  return count;
}

Deno.test("links: directories that links make over and over are refused", () => {
  using sandbox = new Sandbox();
  const line = sandbox.refuse(tar(...chains(20)));
  assertStringIncludes(line, 'tar: entry "t');
  assertStringIncludes(line, REFUSAL);
  assertLess(directoriesIn(sandbox.root), 12_000);
  sandbox.assertContained();
});

Deno.test("links: a few long ones are taken", () => {
  using sandbox = new Sandbox();
  assertEquals(sandbox.apply(tar(...chains(3))).entries, 7);
});

Deno.test("links: long ways are refused at the same entry, whether they are kept or not", () => {
  const ways: Record<string, (path: string, i: number) => TarEntry> = {
    file: (path) => file(path, ""),
    "hard link": (path, i) => hardlink(path, `h${i}`),
  };
  for (const [name, entry] of Object.entries(ways)) {
    // More and fewer links than are kept; the bytes of these pay for some entries too.
    for (const links of [300, 3]) {
      const input = tar(...zigzags(links, entry));
      const lines = [0, 1, 0].map((workers) => {
        using sandbox = new Sandbox();
        return sandbox.refuse(input, { workers });
      });
      assertStringIncludes(lines[0], REFUSAL, name);
      assertEquals(new Set(lines).size, 1, name);
    }
  }
});

Deno.test("links: real paths that links lengthen are paid for by their bytes", () => {
  using sandbox = new Sandbox();
  const deep = Array(15).fill("n".repeat(240)).join("/");
  const line = sandbox.refuse(tar(
    ...longLink(deep, "s"),
    ...times(2000, (i) => [dir(`s/d${i}`)]),
  ));
  assertStringIncludes(line, REFUSAL);
});

Deno.test("links: a hundred thousand entries through those of a merged /usr are taken", () => {
  using sandbox = new Sandbox();
  const head = [
    dir("usr/bin"),
    symlink("usr/bin", "bin"),
    symlink("bin", "sbin"),
    symlink("/sbin/../bin", "tools"),
  ];
  const through = ["bin", "tools"];
  const files = Array.from(
    { length: 100_000 },
    (_, i) => record(file(`${through[i % 2]}/${i}`, "")),
  );
  const { entries } = sandbox.apply(concat([...head.map(record), ...files, new Uint8Array(1024)]), {
    workers: 1,
  });
  assertEquals(entries, 100_004);
  assertEquals([...Deno.readDirSync(`${sandbox.root}/usr/bin`)].length, 100_000);
});

Deno.test("messages: no control character of a name gets into one", () => {
  using sandbox = new Sandbox();
  const name = "\x1b\x7f\xc2\x9bx";
  const line = sandbox.refuse(tar({ ...hardlink("none", "h"), name: bytes(name) }));
  assertStringIncludes(line, String.raw`"\u001b\x7f\x9bx"`);
});
