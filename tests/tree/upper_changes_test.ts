import { assertEquals, assertGreater, assertThrows } from "@std/assert";
import { O_DIRECTORY, O_RDONLY, open } from "../../ffi/files.ts";
import { tryLsetxattr } from "../../ffi/xattr.ts";
import { encode } from "../../ffi/cstring.ts";
import { mount, umount } from "../../ffi/mount.ts";
import { S_IFCHR } from "../../ffi/names.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { upperChanges } from "../../lib/tree/upper_changes.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";
import {
  chown,
  compared,
  makeNode,
  operate,
  put,
  withDirectories,
} from "../support/tree_entries.ts";
import { randomOf } from "../support/random.ts";
import { lines } from "../support/trees.ts";
import { openDescriptors } from "../support/files.ts";

/** The changes of an upper over lowers, uppermost first. */
function changesOf(
  upper: string,
  lowers: string[],
  form: "overlay" | "aufs" = "overlay",
): string[] {
  return withDirectories([upper], (fd) => lines(upperChanges(fd, openers(lowers), form)));
}

/** Functions that open directories. */
const openers = (paths: readonly string[]) =>
  paths.map((path) => () => open(path, O_RDONLY | O_DIRECTORY));

/** Directories `upper`, `lower1`, `lower2` … (uppermost first) below a case's own. */
function branches(root: string, count = 2): string[] {
  const paths = ["upper", ...Array.from({ length: count }, (_, i) => `lower${i + 1}`)]
    .map((name) => `${root}/${name}`);
  paths.forEach((path) => Deno.mkdirSync(path));
  return paths;
}

const whiteout = (path: string) => makeNode(path, S_IFCHR);
const redirect = (path: string) => tryLsetxattr(path, "trusted.overlay.redirect", encode("/x"));
const makeOpaque = (path: string) => tryLsetxattr(path, "trusted.overlay.opaque", encode("y"));

Deno.test("what the upper has alone is added, with all below it", () => {
  using dir = tempDir();
  const [upper, ...lowers] = branches(dir.path);
  Deno.mkdirSync(`${upper}/dir/sub`, { recursive: true });
  put(`${upper}/dir/file`);
  put(`${upper}/file`);
  assertEquals(changesOf(upper, lowers), ["A /dir", "A /dir/file", "A /dir/sub", "A /file"]);
  assertEquals(changesOf(upper, []), ["A /dir", "A /dir/file", "A /dir/sub", "A /file"]);
});

Deno.test("a redirected directory is refused wherever something is below it", () => {
  using dir = tempDir();
  const [upper, ...lowers] = branches(dir.path);
  const [middle, base] = lowers;
  const refused = () =>
    assertThrows(() => changesOf(upper, lowers), VeneerError, "trusted.overlay.redirect");
  for (const root of [upper, middle, base]) {
    Deno.mkdirSync(`${root}/dir/moved`, { recursive: true });
  }
  assertEquals(changesOf(upper, lowers), []);
  // Nothing is below the lowest: what a container's own overlay left there means nothing.
  redirect(`${base}/dir/moved`);
  assertEquals(changesOf(upper, lowers), []);
  assertEquals(changesOf(base, []), ["A /dir", "A /dir/moved"]);
  redirect(`${middle}/dir/moved`);
  refused();
  Deno.removeSync(middle + "/dir", { recursive: true });
  redirect(`${upper}/dir/moved`);
  refused();
  // An opaque directory hides what is below it by name; a redirect is followed all the same.
  makeOpaque(`${upper}/dir`);
  refused();
});

Deno.test("what was copied up and is as it was is no change", () => {
  using dir = tempDir();
  const [upper, lower, base] = branches(dir.path);
  for (const root of [upper, base]) {
    Deno.mkdirSync(`${root}/dir`);
    put(`${root}/dir/same`, "same");
    put(`${root}/dir/edited`, root === upper ? "after." : "before");
  }
  assertEquals(changesOf(upper, [lower, base]), ["C /dir", "C /dir/edited"]);
  Deno.removeSync(`${upper}/dir/edited`);
  assertEquals(changesOf(upper, [lower, base]), []);
});

Deno.test("a whiteout deletes only what is there", () => {
  using dir = tempDir();
  const [upper, lower, base] = branches(dir.path);
  put(`${base}/file`);
  put(`${base}/hidden`);
  whiteout(`${lower}/hidden`);
  for (const name of ["file", "hidden", "never"]) whiteout(`${upper}/${name}`);
  assertEquals(changesOf(upper, [lower, base]), ["D /file"]);
});

Deno.test("what a lower hides of the lowers below it is not there: an entry in its place is added", () => {
  using dir = tempDir();
  const [upper, lower, base] = branches(dir.path);
  for (const name of ["gone", "opaque", "replaced"]) {
    Deno.mkdirSync(`${base}/${name}`);
    put(`${base}/${name}/below`);
    Deno.mkdirSync(`${upper}/${name}`);
    put(`${upper}/${name}/below`);
  }
  whiteout(`${lower}/gone`);
  Deno.mkdirSync(`${lower}/opaque`);
  makeOpaque(`${lower}/opaque`);
  put(`${lower}/replaced`);
  assertEquals(changesOf(upper, [lower, base]), [
    "A /gone",
    "A /gone/below",
    "C /opaque",
    "A /opaque/below",
    "C /replaced",
    "A /replaced/below",
  ]);
});

Deno.test("an opaque directory deletes what the lowers have and it has not, at any depth", () => {
  using dir = tempDir();
  const [upper, lower, base] = branches(dir.path);
  Deno.mkdirSync(`${upper}/dir/kept`, { recursive: true });
  makeOpaque(`${upper}/dir`);
  put(`${upper}/dir/same`);
  put(`${upper}/dir/kept/new`);
  Deno.mkdirSync(`${lower}/dir/kept`, { recursive: true });
  put(`${lower}/dir/one`);
  put(`${lower}/dir/kept/two`);
  whiteout(`${lower}/dir/three`);
  Deno.mkdirSync(`${base}/dir/kept/tree`, { recursive: true });
  put(`${base}/dir/same`);
  put(`${base}/dir/three`);
  put(`${base}/dir/kept/tree/below`);
  assertEquals(changesOf(upper, [lower, base]), [
    "C /dir",
    "C /dir/kept",
    "A /dir/kept/new",
    "D /dir/kept/tree",
    "D /dir/kept/two",
    "D /dir/one",
  ]);
});

Deno.test("a file in place of a merged directory, a directory in place of a file", () => {
  using dir = tempDir();
  const [upper, lower, base] = branches(dir.path);
  for (const root of [lower, base]) {
    Deno.mkdirSync(`${root}/dir`);
    put(`${root}/dir/below`);
    put(`${root}/file`);
  }
  put(`${upper}/dir`);
  Deno.mkdirSync(`${upper}/file`);
  put(`${upper}/file/below`);
  assertEquals(changesOf(upper, [lower, base]), ["C /dir", "C /file", "A /file/below"]);
});

Deno.test("a directory's own mode, owner and attributes are changes, overlay's marks are not", () => {
  using dir = tempDir();
  const [upper, lower] = branches(dir.path, 1);
  for (const root of [upper, lower]) {
    for (const name of ["impure", "mode", "owner", "xattr"]) Deno.mkdirSync(`${root}/${name}`);
  }
  tryLsetxattr(`${upper}/impure`, "trusted.overlay.impure", encode("y"));
  Deno.chmodSync(`${upper}/mode`, 0o700);
  chown(`${upper}/owner`, 5, 6);
  tryLsetxattr(`${upper}/xattr`, "user.x", encode("y"));
  assertEquals(changesOf(upper, [lower]), ["C /mode", "C /owner", "C /xattr"]);
});

Deno.test("aufs's own form: .wh. files hide, .wh..wh..opq makes opaque, other metadata is nothing", () => {
  using dir = tempDir();
  const [upper, lower, base] = branches(dir.path);
  for (const name of [".wh..wh.aufs", ".wh.gone", ".wh.hidden", ".wh.never"]) {
    put(`${upper}/${name}`);
  }
  Deno.mkdirSync(`${upper}/.wh..wh.plnk`);
  Deno.mkdirSync(`${upper}/dir`);
  put(`${upper}/dir/.wh..wh..opq`);
  put(`${upper}/dir/new`);
  put(`${upper}/again`);
  put(`${lower}/.wh.hidden`);
  put(`${lower}/.wh.again`);
  Deno.mkdirSync(`${base}/dir`);
  for (const path of ["gone", "hidden", "again", "dir/old"]) put(`${base}/${path}`);
  assertEquals(changesOf(upper, [lower, base], "aufs"), [
    "A /again",
    "C /dir",
    "A /dir/new",
    "D /dir/old",
    "D /gone",
  ]);
});

Deno.test("five hundred lowers are looked through with few descriptors", () => {
  using dir = tempDir();
  const [upper, ...lowers] = branches(dir.path, 500);
  for (const [i, lower] of lowers.entries()) {
    Deno.mkdirSync(`${lower}/a/b/c/d`, { recursive: true });
    put(`${lower}/a/b/c/d/${i}`);
  }
  Deno.mkdirSync(`${upper}/a/b/c/d`, { recursive: true });
  makeOpaque(`${upper}/a/b/c/d`);
  put(`${upper}/a/b/c/d/499`);
  const before = openDescriptors();
  let count = 0, most = 0;
  withDirectories([upper], (fd) => {
    for (const _ of upperChanges(fd, openers(lowers), "overlay")) {
      count++;
      most = Math.max(most, openDescriptors());
    }
  });
  assertEquals(count, 4 + 499);
  // One for each lower, and at most 64 and the caller's for the upper: 1024 may be open.
  assertGreater(500 + 66, most - before);
  assertEquals(openDescriptors(), before);
});

const lacking = lacksFileSystem("overlay");

/** How many trees are tried; more by `VENEER_TEST_SEEDS`. */
const SEEDS = Number(Deno.env.get("VENEER_TEST_SEEDS") ?? 60);

needs(lacking, "random operations: the upper tells what the merged trees differ in", () => {
  const kinds = { A: 0, C: 0, D: 0 };
  for (let seed = 0; seed < SEEDS; seed++) {
    using dir = tempDir();
    const random = randomOf(seed);
    const stack: string[] = []; // Lowers, uppermost first.
    const layers = 1 + random(3);
    const mounted = (lowers: string[], name: string, use: (merged: string) => void) => {
      const [upper, work, merged] = ["upper", "work", "merged"].map((part) => {
        const path = `${dir.path}/${name}-${part}`;
        Deno.mkdirSync(path);
        return path;
      });
      const lowerdir = lowers.length > 0 ? lowers.join(":") : empty;
      const data = `lowerdir=${lowerdir},upperdir=${upper},workdir=${work},redirect_dir=off`;
      mount({ source: "overlay", target: merged, type: "overlay", data });
      try {
        use(merged);
      } finally {
        umount(merged);
      }
      return upper;
    };
    const empty = `${dir.path}/empty`;
    Deno.mkdirSync(empty);
    for (let layer = 0; layer < layers; layer++) {
      const upper = mounted(stack, `l${layer}`, (merged) => {
        for (let i = 0; i < 60; i++) operate(merged, random);
      });
      stack.unshift(upper);
    }
    let expected: string[] = [];
    // The parent is seen through a mount of its own, with an upper to which nothing is written.
    const upper = mounted(stack, "child", (child) => {
      for (let i = 0; i < 60; i++) operate(child, random);
      mounted(stack, "parent", (parent) => expected = compared(parent, child));
    });
    assertEquals(changesOf(upper, stack), expected, `seed ${seed}`);
    for (const line of expected) kinds[line[0] as keyof typeof kinds]++;
  }
  for (const count of Object.values(kinds)) assertGreater(count, SEEDS / 2);
});
