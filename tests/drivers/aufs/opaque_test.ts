/**
 * Directories that aufs shows wrong, by a model of its lookup (`shown.ts`), and the marks and
 * whiteouts with which it shows them right.
 */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { mendBranch, type MendOptions } from "../../../drivers/aufs/opaque.ts";
import { O_DIRECTORY, O_RDONLY, open as openFile, withFd } from "../../../ffi/files.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IS_LONG, lacksFileSystem, must, type TempDir } from "../../support/cases.ts";
import { openDriver } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { assertFails } from "../../support/errors.ts";
import { isThere, names } from "../../support/files.ts";
import { apply, diff, fill } from "../../support/layers.ts";
import { type Random, randomOf } from "../../support/random.ts";
import { changeAtRandom, lines, modelChanges, tarOf } from "../../support/trees.ts";
import { graphOf, open, openGraph, test } from "./support.ts";
import { plain, shown } from "./shown.ts";

/** Makes files, by their paths, below a root; what ends in a slash is a directory. */
function make(root: string, ...paths: string[]): string {
  Deno.mkdirSync(root, { recursive: true });
  for (const path of paths) {
    const at = `${root}/${path}`;
    Deno.mkdirSync(at.slice(0, at.lastIndexOf("/")), { recursive: true });
    if (!path.endsWith("/")) Deno.writeTextFileSync(at, path.split("/").at(-1)!);
  }
  return root;
}

/** Branches with these files, the uppermost first. */
const branches = (dir: TempDir, ...layers: string[][]) =>
  layers.map((paths, i) => make(`${dir.path}/${layers.length - i}`, ...paths));

/** Mends the first of some branches; how much it made. */
function mend([upper, ...lowers]: readonly string[], options?: MendOptions): number {
  const directory = (path: string) => openFile(path, O_RDONLY | O_DIRECTORY);
  const openLowers = lowers.map((path) => () => directory(path));
  return withFd(directory(upper), (fd) => mendBranch(fd, openLowers, options));
}

/** Mends each of some branches, from below. */
function mendAll(all: readonly string[]): void {
  for (let i = all.length - 1; i >= 0; i--) mend(all.slice(i), { applied: true });
}

const files = (root: string) =>
  [...must("find", root, "-mindepth", "1", "-printf", "%P\n").matchAll(/.+/g)]
    .map(([path]) => path).sort();
const paths = (tree: ReadonlyMap<string, string>) => [...tree.keys()].join(" ");

test("opaque: made anew in two layers, what the lower one has is hidden one by one", (dir) => {
  const all = branches(dir, ["an/.wh..wh..opq", "an/f3"], ["an/.wh..wh..opq", "an/f2"], ["an/f1"]);
  assertEquals(paths(shown(all.slice(1))), "/an /an/f2");
  assertEquals(paths(shown(all)), "/an /an/f2 /an/f3", "aufs as it is");
  assertEquals(mend(all), 1);
  assertEquals(names(`${all[0]}/an`), [".wh..wh..opq", ".wh.f2", "f3"]);
  assertEquals(Deno.statSync(`${all[0]}/an/.wh.f2`).mode! & 0o7777, 0o444);
  assertEquals(paths(shown(all)), "/an /an/f3");
  assertEquals(mend(all), 0, "once is enough");
});

test("opaque: what only one layer made anew is left as it is, and no lower is opened", (dir) => {
  const [upper, ...lowers] = branches(dir, ["a/b/c", "x/.wh.y", ".wh..wh.plnk/1.2"], ["a/b/d"]);
  const refused = () => {
    throw new Error("a lower is opened");
  };
  withFd(openFile(upper, O_RDONLY | O_DIRECTORY), (fd) => mendBranch(fd, [refused]));
  make(upper, "a/.wh..wh..opq", ".wh..wh..opq");
  make(lowers[0], "a/f", ".wh..wh..opq", ".wh..wh.plnk/.wh..wh..opq");
  const before = files(upper);
  assertEquals(mend([upper, ...lowers]), 0);
  assertEquals(files(upper), before);
  // The root's own mark means nothing, nor does what lies in aufs's own directories.
  make(upper, ".wh..wh.plnk/.wh..wh..opq");
  assertEquals(mend([upper, ...lowers]), 0);
});

test("opaque: directories in it hide what the lower ones have in theirs", (dir) => {
  const all = branches(
    dir,
    ["d/.wh..wh..opq", "d/in/new", "d/in/deep/new", "d/other/", "d/file"],
    ["d/.wh..wh..opq", "d/in/old", "d/in/deep/old", "d/other/old", "d/file/old", "d/gone/"],
    ["d/in/.wh..wh..opq", "d/in/older", "d/oldest"],
  );
  assert(paths(shown(all)).includes("/d/in/deep/old"), "aufs as it is");
  mend(all);
  assertEquals(paths(shown(all)), "/d /d/file /d/in /d/in/deep /d/in/deep/new /d/in/new /d/other");
  assertEquals(files(all[0]).filter((path) => path.includes(".wh.")), [
    "d/.wh..wh..opq",
    "d/.wh.gone",
    "d/in/.wh..wh..opq",
    "d/other/.wh..wh..opq",
  ]);
});

test("opaque: a whiteout or a file between ends it, or does not, as in the kernel", (dir) => {
  const all = branches(
    dir,
    ["a/.wh..wh..opq", "b/.wh..wh..opq", "c/.wh..wh..opq"],
    [".wh.a", "b", "c/x"],
    ["a/.wh..wh..opq", "a/f", "b/.wh..wh..opq", "b/f", "c/.wh..wh..opq", "c/f", "c/.wh.x"],
  );
  assertEquals(paths(shown(all)), "/a /b /b/f /c /c/f /c/x");
  assertEquals(mend(all), 3);
  assertEquals(paths(shown(all)), "/a /b /c");
});

test("opaque: a directory over a file over a directory, as a tar leaves it", (dir) => {
  const all = branches(
    dir,
    ["a/in/new", "b/", "c/in/new", "d/", "e/"],
    ["a", "b", "c/in", ".wh.d"],
    ["a/in/old", "a/old", "b", "c/in/old", "d/old", "e/old"],
  );
  const right = "/a /a/in /a/in/new /b /c /c/in /c/in/new /d /e /e/old";
  assert(paths(shown(all)).includes("/a/in/old"), "aufs as it is");
  assertEquals(mend(all), 0, "aufs marks what it makes itself");
  assertEquals(mend(all, { applied: true }), 2);
  assertEquals(files(all[0]).filter((path) => path.includes(".wh.")), [
    "a/.wh..wh..opq",
    "c/in/.wh..wh..opq",
  ]);
  assertEquals(paths(shown(all)), right);
  assertEquals(mend(all, { applied: true }), 0);
});

test("opaque: names as they come, and marks of a container that forbid changes", (dir) => {
  const odd = ["new\nline", "\\", "ü", "x".repeat(251), "-r"];
  const all = branches(
    dir,
    ["d/.wh..wh..opq"],
    ["d/.wh..wh..opq", ...odd.map((name) => `d/${name}`), `d/${"y".repeat(252)}`],
  );
  must("chattr", "+i", `${all[0]}/d`);
  try {
    assertEquals(mend(all), odd.length, "but for a name that no whiteout can have");
  } finally {
    must("chattr", "-i", `${all[0]}/d`);
  }
  assertEquals(names(`${all[0]}/d`), [".wh..wh..opq", ...odd.map((name) => `.wh.${name}`)].sort());
});

test("opaque: directories keep their times", (dir) => {
  const all = branches(
    dir,
    ["d/.wh..wh..opq", "d/in/new", "t/new"],
    ["d/.wh..wh..opq", "d/in/old", "d/old", "t"],
    ["t/old"],
  );
  const made = ["d", "d/in", "t"].map((path) => `${all[0]}/${path}`);
  for (const path of made) must("touch", "-d", "@1234567890.123456789", path);
  assertEquals(mend(all, { applied: true }), 3);
  const times = made.map((path) => must("stat", "-c", "%.9X %.9Y", path).trim());
  assertEquals(times, Array(3).fill("1234567890.123456789 1234567890.123456789"));
});

test("opaque: something mounted in a branch is no part of it", (dir) => {
  const all = branches(dir, ["d/.wh..wh..opq", "m/"], ["d/.wh..wh..opq"]);
  must("mount", "-t", "tmpfs", "tmpfs", `${all[0]}/m`);
  assertFails("in use", () => mend(all));
});

test("opaque: deeper than descriptors go, in many branches", (dir) => {
  const deep = `d${"/d".repeat(150)}`;
  const all = Array.from({ length: 30 }, (_, i) => `${dir.path}/${i}`);
  all.forEach((root, i) => make(root, `${deep}/.wh..wh..opq`, `${deep}/f${i}`));
  assertEquals(mend(all), 29);
  assertEquals(names(`${all[0]}/${deep}`).length, 31);
  // Once those below are mended, each hides the one below it, and no more is to be hidden.
  const again = all.slice(0, 8).map((root) => `${root}-again`);
  again.forEach((root, i) => make(root, `${deep}/.wh..wh..opq`, `${deep}/f${i}`));
  for (let i = again.length - 1; i >= 0; i--) {
    assertEquals(mend(again.slice(i)), i === again.length - 1 ? 0 : 1);
  }
});

test("opaque: as many branches as aufs may be built for, and a thousand open files", (dir) => {
  const paths = Array.from({ length: 511 }, (_, i) => make(`${dir.path}/${i}`, "d/e/f"));
  for (const path of paths) make(path, "d/.wh..wh..opq");
  const child = new URL("many_branches_child.ts", import.meta.url).pathname;
  const command = [Deno.execPath(), "run", "--allow-all", "--no-check", child, dir.path];
  const script = 'ulimit -n 1024; exec "$@"';
  assertEquals(must("sh", "-c", script, "sh", ...command).trim(), "1");
  assertEquals(names(`${dir.path}/0/d/e`), [".wh..wh..opq", "f"]);
});

test("opaque: three layers made anew, by the commands: changes and diff say the same both ways", (dir) => {
  const driver = openGraph(dir);
  const layer = (number: number) => `${driver.home}/diff/o${number}`;
  for (const number of [1, 2, 3]) {
    driver.create(`o${number}`, { parent: number === 1 ? undefined : `o${number - 1}` });
    const tree = make(`${dir.path}/tree${number}`, `an/f${number}`);
    if (number > 1) make(tree, "an/.wh..wh..opq");
    apply(driver, `o${number}`, tarOf(tree, `${tree}.tar`));
  }
  const chain = [layer(3), layer(2), layer(1)];
  const tree = shown(chain);
  assertEquals(paths(tree), "/an /an/f3");
  // Against the parent it is the layer's own directory that is read, against nothing what is mounted.
  const expected = ["C /an", "D /an/f2", "A /an/f3"];
  assertEquals(lines(driver.changes("o3", undefined)), expected);
  assertEquals(modelChanges(shown(chain.slice(1)), tree), expected);
  const entries = must("tar", "-tf", diff(driver, "o3", undefined, dir.path)).trim().split("\n");
  assertEquals(entries, ["an/", "an/.wh..wh..opq", "an/f3"], "whiteouts for aufs are no content");
});

/** A store whose layers stay as tars say. */
function unmendingGraph(root: string): GraphDriver {
  const backend = open(root);
  Object.defineProperty(backend, "finishApply", { value: undefined });
  return graphOf(backend);
}

/** Makes random changes, many of them directories made anew. */
function remake(root: string, pick: Random): void {
  changeAtRandom(root, pick, 6);
  for (let i = 0; i < 6; i++) {
    const depth = 1 + pick(3);
    const path = Array.from({ length: depth }, () => "pqr"[pick(3)]).join("/");
    try {
      if (isThere(`${root}/${path}`) && pick(3) > 0) {
        Deno.removeSync(`${root}/${path}`, { recursive: true });
      }
      Deno.mkdirSync(`${root}/${path}`, { recursive: true });
      Deno.writeTextFileSync(`${root}/${path}/${"stu"[pick(3)]}${pick(3)}`, `${pick(100)}`);
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
}

test(
  "opaque: random layers that overlay mounts are shown by aufs as they are there",
  (dir) => {
    const driver: GraphDriver = openDriver({
      root: `${dir.path}/overlay`,
      driver: "overlay2",
      options: ["overlay2.allow_btrfs=true"],
      idMaps: IDENTITY,
      warn: () => {},
    });
    const aufs = openGraph(dir), raw = unmendingGraph(`${dir.path}/raw`);
    const rounds = IS_LONG ? 120 : 6, depth = 8;
    let differing = 0;
    for (let seed = 1; seed <= rounds; seed++) {
      const pick = randomOf(seed), chain: string[] = [], unmended: string[] = [];
      const tars = `${dir.path}/tars`;
      Deno.mkdirSync(tars, { recursive: true });
      for (let i = 0; i < depth; i++) {
        const id = `s${seed}-${i}`, parent = i === 0 ? undefined : `s${seed}-${i - 1}`;
        fill(driver, id, (root) => remake(root, pick), parent);
        const tar = diff(driver, id, undefined, tars);
        for (const [store, layers] of [[aufs, chain], [raw, unmended]] as const) {
          store.create(id, { parent });
          apply(store, id, tar);
          layers.unshift(`${store.home}/diff/${id}`);
        }
        const root = driver.get(id, { readOnly: true });
        const expected = plain(root);
        driver.put(id);
        assertEquals(shown(chain), expected, `seed ${seed}, layer ${i}`);
        if (paths(shown(unmended)) !== paths(expected)) differing++;
      }
      mendAll(unmended);
      assertEquals(shown(unmended), shown(chain), `seed ${seed}, mended at the end`);
    }
    assert(differing > 0, "none of it is what aufs shows wrong");
    console.log(`${differing} of ${rounds * depth} layers would be shown wrong`);
  },
  lacksFileSystem("overlay"),
);
