/**
 * Whiteouts in each of their three forms, in either order with what they do not hide.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { dir, file, hardlink, pax, symlink, tar, type TarEntry } from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";
import { cpuTime, limitHere } from "../support/cpu_time.ts";

type Part = TarEntry | Uint8Array;

// Whiteouts. What the parent has is what a first tar made; the second one is under test.

const PARENT: readonly Part[] = [
  dir("foo"),
  file("foo/old", "old"),
  dir("foo/sub"),
  file("foo/sub/old", "old"),
  file("bar", "old"),
  symlink("foo", "ln"),
];

interface WhiteoutCase {
  readonly parts: readonly Part[];
  /** On an empty directory over the parent's. */
  readonly overlay: readonly string[];
  readonly aufs: readonly string[];
  /** On a copy of the parent. */
  readonly none: readonly string[];
}

const OPAQUE = 'trusted.overlay.opaque="y"';
const FOO = ["foo dir", 'foo/old file "old"', "foo/sub dir", 'foo/sub/old file "old"'];

const WHITEOUTS: Readonly<Record<string, WhiteoutCase>> = {
  "TestApplyLayerWhiteouts: files, links and trees": {
    parts: [file(".wh.bar"), file(".wh.foo"), file(".wh.ln")],
    overlay: ["bar char 0:0", "foo char 0:0", "ln char 0:0"],
    aufs: ['.wh.bar file ""', '.wh.foo file ""', '.wh.ln file ""'],
    none: [],
  },
  "of what is not there": {
    parts: [dir("new"), file("new/.wh.absent")],
    overlay: ["new dir"],
    aufs: ["new dir"],
    none: ['bar file "old"', ...FOO, "ln link -> foo", "new dir"],
  },
  "inside a directory": {
    parts: [dir("foo"), file("foo/.wh.old"), file("foo/.wh.sub")],
    overlay: ["foo dir", "foo/old char 0:0", "foo/sub char 0:0"],
    aufs: ["foo dir", 'foo/.wh.old file ""', 'foo/.wh.sub file ""'],
    none: ['bar file "old"', "foo dir", "ln link -> foo"],
  },
  "a directory after its whiteout is opaque": {
    parts: [file(".wh.foo"), dir("foo"), file("foo/new", "new")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "a directory before its whiteout is opaque": {
    parts: [dir("foo"), file("foo/new", "new"), file(".wh.foo")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "a directory that is only implied after its whiteout is opaque": {
    parts: [file(".wh.foo"), file("foo/new", "new")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "a file after its whiteout": {
    parts: [file(".wh.bar"), file("bar", "new")],
    overlay: ['bar file "new"'],
    aufs: ['bar file "new"'],
    none: ['bar file "new"', ...FOO, "ln link -> foo"],
  },
  "a file before its whiteout": {
    parts: [file("bar", "new"), file(".wh.bar")],
    overlay: ['bar file "new"'],
    aufs: ['bar file "new"'],
    none: ['bar file "new"', ...FOO, "ln link -> foo"],
  },
  "a link and a hard link after their whiteouts": {
    parts: [
      file(".wh.ln"),
      file(".wh.bar"),
      symlink("x", "ln"),
      file("target", "t"),
      hardlink("target", "bar"),
    ],
    overlay: ['bar file "t"', "ln link -> x", 'target file "t"'],
    aufs: ['bar file "t"', "ln link -> x", 'target file "t"'],
    none: ['bar file "t"', ...FOO, "ln link -> x", 'target file "t"'],
  },
  "an opaque marker before what it does not hide": {
    parts: [dir("foo"), file("foo/.wh..wh..opq"), file("foo/new", "new"), dir("foo/sub")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"', "foo/sub dir"],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"', "foo/sub dir"],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "foo/sub dir", "ln link -> foo"],
  },
  "an opaque marker after what it does not hide": {
    parts: [dir("foo"), file("foo/sub/new", "new"), dir("foo/sub"), file("foo/.wh..wh..opq")],
    overlay: [`foo dir ${OPAQUE}`, "foo/sub dir", 'foo/sub/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', "foo/sub dir", 'foo/sub/new file "new"'],
    none: ['bar file "old"', "foo dir", "foo/sub dir", 'foo/sub/new file "new"', "ln link -> foo"],
  },
  "an opaque marker before its directory's entry": {
    parts: [file("foo/.wh..wh..opq"), dir("foo"), file("foo/new", "new")],
    overlay: [`foo dir ${OPAQUE}`, 'foo/new file "new"'],
    aufs: ["foo dir", 'foo/.wh..wh..opq file ""', 'foo/new file "new"'],
    none: ['bar file "old"', "foo dir", 'foo/new file "new"', "ln link -> foo"],
  },
  "aufs's own files are skipped": {
    parts: [
      file(".wh..wh.aufs"),
      dir(".wh..wh.plnk"),
      file(".wh..wh.plnk/123.456", "x"),
      dir(".wh..wh.orph"),
      file("new", "x"),
    ],
    overlay: ['new file "x"'],
    aufs: ['new file "x"'],
    none: ['bar file "old"', ...FOO, "ln link -> foo", 'new file "x"'],
  },
  "a name that only looks like one": {
    parts: [file("wh.x", "1"), file(".whx", "2"), file("a.wh.b", "3")],
    overlay: ['.whx file "2"', 'a.wh.b file "3"', 'wh.x file "1"'],
    aufs: ['.whx file "2"', 'a.wh.b file "3"', 'wh.x file "1"'],
    none: [
      '.whx file "2"',
      'a.wh.b file "3"',
      'bar file "old"',
      ...FOO,
      "ln link -> foo",
      'wh.x file "1"',
    ],
  },
};

for (const [name, test] of Object.entries(WHITEOUTS)) {
  for (const form of ["overlay", "aufs", "none"] as const) {
    Deno.test(`whiteouts as ${form}: ${name}`, () => {
      using sandbox = new Sandbox();
      if (form === "none") sandbox.apply(tar(...PARENT));
      else sandbox.putBelow(tar(...PARENT), { whiteouts: form });
      sandbox.apply(tar(...test.parts), { whiteouts: form });
      assertEquals(sandbox.tree({ attributes: false }), test[form]);
      sandbox.assertContained();
    });
  }
}

Deno.test("whiteouts as aufs: entries that are no files become empty ones, and none is opened", () => {
  using sandbox = new Sandbox();
  sandbox.putBelow(tar(dir("d"), file("x")));
  sandbox.apply(
    tar(
      dir("d"),
      { name: "d/.wh..wh..opq", type: "6" },
      file(".wh.d", "not empty"),
      symlink("/etc/passwd", ".wh.x"),
    ),
    { whiteouts: "aufs" },
  );
  assertEquals(sandbox.tree({ attributes: false }), [
    '.wh.x file ""',
    "d dir",
    'd/.wh..wh..opq file ""',
  ]);
});

Deno.test("TestOverlayUntarInvalidWhiteoutNames", () => {
  for (const whiteouts of ["overlay", "aufs", "none"] as const) {
    for (const name of [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh...", ".wh.x/y"]) {
      using sandbox = new Sandbox();
      sandbox.apply(tar(dir("d"), file("d/x", "x")));
      sandbox.refuse(tar(file(name)), { whiteouts });
      assertEquals(sandbox.tree({ attributes: false }), ["d dir", 'd/x file "x"']);
    }
  }
});

for (const form of ["overlay", "aufs", "none"] as const) {
  Deno.test(`whiteouts as ${form}: files that an aufs host kept for hard links are linked to, and gone in the end`, () => {
    using sandbox = new Sandbox();
    sandbox.apply(
      tar(
        dir("./", { mtime: 7 }),
        dir(".wh..wh.plnk", { mode: 0o700 }),
        file(".wh..wh.plnk/195.1000", "linked", { uid: 5 }),
        symlink("to", ".wh..wh.plnk/196.1000"),
        file(".wh..wh.plnk/unused", ""),
        file(".wh..wh.plnk/below/it", ""),
        file(".wh..wh.orph/1", ""),
        dir("usr"),
        hardlink(".wh..wh.plnk/195.1000", "usr/one"),
        hardlink("/.wh..wh.plnk/195.1000", "usr/two"),
        hardlink(".wh..wh.plnk/196.1000", "usr/link"),
        file(".wh..wh.opq", ""),
      ),
      { whiteouts: form },
    );
    const tree = sandbox.tree({ attributes: false, links: true }).filter((line) =>
      !line.startsWith(".wh..wh.opq")
    );
    assertEquals(tree.filter((line) => line !== "usr dir"), [
      "usr/link link links=1 -> to",
      'usr/one file links=2 "linked"',
      'usr/two file links=2 "linked"',
    ]);
    assertEquals(Deno.statSync(sandbox.root).mtime?.getTime(), 7000);
    sandbox.assertContained();
  });
}

Deno.test("whiteouts as none: many of a directory of many entries cost as many steps as there are of both", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar(...PARENT));
  const files = Array.from({ length: 6000 }, (_, i) => file(`foo/${i}`));
  const whiteouts = Array.from({ length: 4000 }, () => [file("foo/.wh..wh..opq"), file(".wh.foo")]);
  const started = cpuTime();
  sandbox.apply(tar(...files, ...whiteouts.flat()), { whiteouts: "none" });
  assertEquals(cpuTime() - started < limitHere(15_000), true);
  assertEquals(sandbox.tree({ attributes: false }).length, 6000 + ["foo", "bar", "ln"].length);
});

Deno.test("whiteouts: the longest names are hidden, and longer ones refused", () => {
  const long = "n".repeat(255), whiteout = `.wh.${long}`;
  for (const form of ["overlay", "none"] as const) {
    using sandbox = new Sandbox();
    const parent = tar(pax({ path: long }), file(""));
    if (form === "none") sandbox.apply(parent);
    else sandbox.putBelow(parent, { whiteouts: form });
    sandbox.apply(tar(pax({ path: whiteout }), file("")), { whiteouts: form });
    assertEquals(
      sandbox.tree({ attributes: false }),
      form === "none" ? [] : [`${long} char 0:0`],
    );
    for (const path of [`${whiteout}n`, `.w${long}`, `${whiteout}/x`]) {
      sandbox.refuse(tar(pax({ path }), file("")), { whiteouts: form });
    }
  }
});

Deno.test("whiteouts: a directory that gets the inode of one that is gone is another one", () => {
  using sandbox = new Sandbox();
  const names = Array.from({ length: 20 }, (_, i) => `d${i}`);
  sandbox.putBelow(
    tar(...names.flatMap((name) => [dir(name), file(`${name}/x`), file(`${name}/y`)])),
    { whiteouts: "overlay" },
  );
  // Each is copied up, and all but the last are taken away again.
  const parts = names.flatMap((name) => [file(`${name}/.wh.x`), file(`.wh.${name}`)]).slice(0, -1);
  sandbox.apply(tar(...parts), { whiteouts: "overlay" });
  assertEquals(
    sandbox.tree({ attributes: false }).filter((line) => !/^d\d+ char 0:0$/.test(line)),
    ["d19 dir", "d19/x char 0:0"],
  );
});
