/**
 * Paths that lead over links: where they end, and what they cost.
 *
 * @module
 */
import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { dir, file, hardlink, pax, symlink, tar, type TarEntry } from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";
import { cpuTime } from "../support/cpu_time.ts";

/** `count` directories, one in the other. */
const deep = (count: number, name = "a") => Array(count).fill(name).join("/");
const long = (path: string) => [pax({ path }), file("f", "")] as const;

function applied(...parts: readonly (TarEntry | Uint8Array)[]): string[] {
  using sandbox = new Sandbox();
  sandbox.apply(tar(...parts));
  sandbox.assertContained();
  return sandbox.tree({ attributes: false });
}

Deno.test("paths: '..' in a link's target starts from where the links before it led", () => {
  assertEquals(
    applied(
      dir("a"),
      dir("a/b"),
      symlink("a/b", "s"),
      symlink("../c", "s/l"),
      file("s/l/x/y", "1"),
    ),
    [
      "a dir",
      "a/b dir",
      "a/b/l link -> ../c",
      "a/c dir",
      "a/c/x dir",
      'a/c/x/y file "1"',
      "s link -> a/b",
    ],
  );
});

Deno.test("paths: '..' and absolute targets end at the layer's root", () => {
  assertEquals(
    applied(
      symlink("../../..//./d", "up"),
      symlink("/../d/e", "down"),
      file("up/x", "1"),
      file("down/y", "2"),
    ),
    [
      "d dir",
      "d/e dir",
      'd/e/y file "2"',
      'd/x file "1"',
      "down link -> /../d/e",
      "up link -> ../../..//./d",
    ],
  );
});

Deno.test("paths: a way is forgotten with the link that it led over", () => {
  assertEquals(
    applied(
      dir("a"),
      dir("b"),
      symlink("a", "s"),
      file("s/x/1", ""),
      symlink("b", "s"),
      file("s/x/2", ""),
      dir("s"),
      file("s/x/3", ""),
    ),
    [
      "a dir",
      "a/x dir",
      'a/x/1 file ""',
      "b dir",
      "b/x dir",
      'b/x/2 file ""',
      "s dir",
      "s/x dir",
      's/x/3 file ""',
    ],
  );
});

Deno.test("paths: a directory below a link has its entry's times at the end", () => {
  using sandbox = new Sandbox();
  sandbox.apply(
    tar(
      dir("a", { mtime: 5 }),
      symlink("a", "s"),
      dir("s/d", { mtime: 6 }),
      file("s/d/f", ""),
      symlink("x", "s"),
    ),
  );
  const times = sandbox.tree({ attributes: false, times: true });
  assertEquals(times.filter((line) => line.includes(" dir ")), [
    "a dir 5.000000000",
    "a/d dir 6.000000000",
  ]);
});

Deno.test("paths: the target of a hard link is found over links", () => {
  assertEquals(
    applied(
      dir("a"),
      file("a/f", "1"),
      symlink("/a", "s"),
      symlink("s/../s", "t"),
      hardlink("t/f", "h"),
    ),
    ["a dir", 'a/f file "1"', 'h file "1"', "s link -> /a", "t link -> s/../s"],
  );
});

Deno.test("paths: loops, and links that add up to more than a path may have, are refused in one line", () => {
  const cases: Record<string, readonly (TarEntry | Uint8Array)[]> = {
    loop: [symlink("t", "s"), symlink("s", "t"), file("s/x/f", "")],
    "too many links": [symlink(".", "s"), ...long(`${deep(41, "s")}/x/f`)],
    "too many directories": [
      pax({ linkpath: deep(1500) }),
      symlink("x", "s"),
      file("s/f", ""),
      pax({ linkpath: `s/${Array(400).fill("a/..").join("/")}` }),
      symlink("x", "t"),
      file("t/f", ""),
    ],
  };
  for (const [name, parts] of Object.entries(cases)) {
    using sandbox = new Sandbox();
    assertStringIncludes(sandbox.refuse(tar(...parts)), "leads over more than 40 links", name);
  }
});

Deno.test("paths: one that leads to where no path is short enough is refused in one line", () => {
  using sandbox = new Sandbox();
  const line = sandbox.refuse(tar(
    ...long(`${deep(1500)}/f`),
    pax({ path: `${deep(1500)}/l`, linkpath: deep(1000, "b") }),
    symlink("x", "l"),
    ...long(`${deep(1500)}/l/f`),
  ));
  assertStringIncludes(line, "own path is longer than 4095 bytes");
});

Deno.test("paths: as many links as the kernel follows are followed, every time", () => {
  const path = `${deep(40, "s")}/x`;
  assertEquals(
    applied(symlink(".", "s"), ...long(`${path}/1`), file("y", ""), ...long(`${path}/2`)),
    ["s link -> .", "x dir", 'x/1 file ""', 'x/2 file ""', 'y file ""'],
  );
});

Deno.test("paths: below a link an entry costs about what it costs without one", () => {
  const depth = 1900;
  const entries = (prefix: string) =>
    Array.from({ length: 60 }, (_, i) => long(`${prefix}${deep(depth)}/${i % 2 ? "b/" : ""}${i}`))
      .flat();
  const time = (...parts: readonly (TarEntry | Uint8Array)[]) => {
    using sandbox = new Sandbox();
    const input = tar(...parts);
    const start = cpuTime();
    sandbox.apply(input);
    return cpuTime() - start;
  };
  // The least of some times: other programs may slow any of them.
  let plain = Infinity, linked = Infinity;
  for (let tries = 0; tries < 5 && !(linked < 3 * plain + 100); tries++) {
    plain = Math.min(plain, time(...entries("")));
    linked = Math.min(linked, time(symlink(".", "s"), ...entries("s/")));
  }
  assertLess(linked, 3 * plain + 100, `${linked} ms against ${plain}`);
});
