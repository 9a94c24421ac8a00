/**
 * Power cuts at random moments of a loop that imports layers with `sync=layer`, and removes some: what
 * was committed when the power went is whole afterwards, a repair mends the rest, and the store works on.
 *
 * `VENEER_TEST_LONG` takes 200 moments on each file system, `VENEER_TEST_SEED` draws others.
 */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import type { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import type { ImageKind } from "../../runner/images.ts";
import { lacksFileSystem, must, needs, run, tempDir } from "../../support/cases.ts";
import { PROGRAM } from "../../support/commands.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { type Random, randomOf } from "../../support/random.ts";
import { describeTree, tarOf } from "../../support/trees.ts";
import { lacking as lacksDevices, SMALL } from "../devicemapper/support.ts";
import { type CutDisk, lacksWriteLog, LoggedDisk } from "../../support/write_log.ts";

const isLong = Deno.env.has("VENEER_TEST_LONG");
const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);
const CUTS = isLong ? 200 : 3, LAYERS = isLong ? 40 : 6;

/** Mebibytes: xfs wants 300 at least. */
const DISKS: readonly [kind: ImageKind, mebibytes: number, driver: string][] = [
  ["ext4", 128, "overlay2"],
  ["xfs", 320, "overlay2"],
  ["btrfs", 256, "btrfs"],
  ["ext4", 512, "devicemapper"],
];

const storeOn = (directory: string, driver: string) => ({
  root: `${directory}/root`,
  driver,
  options: ["sync=layer", ...driver === "devicemapper" ? SMALL : []],
  idMaps: IDENTITY,
  warn: () => {},
});
type Store = ReturnType<typeof storeOn>;

/** Small files in directories, one of many blocks, a link and a symbolic one. */
function fill(root: string, random: Random, name: string): void {
  for (let i = 0; i < 4; i++) {
    Deno.mkdirSync(`${root}/d${random(6)}/${name}`, { recursive: true });
  }
  const directories = [...Deno.readDirSync(root)].filter(({ isDirectory }) => isDirectory);
  for (const { name: directory } of directories) {
    for (let i = 0; i < 5; i++) {
      const text = `${name} ${i}\n`.repeat(1 + random(400));
      Deno.writeTextFileSync(`${root}/${directory}/f${i}`, text);
    }
  }
  Deno.writeFileSync(`${root}/large`, new Uint8Array(random(1 << 19)).fill(random(256)));
  Deno.mkdirSync(`${root}/links-${name}`);
  Deno.linkSync(`${root}/large`, `${root}/links-${name}/hard`);
  Deno.symlinkSync("../large", `${root}/links-${name}/symbolic`);
}

/** A snapshot's tree. */
function treeOf(snapshots: Snapshots, name: string): string {
  snapshots.view("look", name);
  try {
    const entries = describeTree(snapshots.mount("look"));
    snapshots.unmount("look");
    return JSON.stringify([...entries]);
  } finally {
    snapshots.remove("look");
  }
}

/** Makes a layer as a service does whose engine mounts it, and marks that its commit was answered. */
function serve(
  store: Store,
  at: string,
  { name, parent }: { name: string; parent: string },
  { fill, mark }: { fill: (root: string) => void; mark: () => void },
): void {
  using snapshots = openSnapshotter({
    ...store,
    purpose: "serve",
    foreignUses: "ignore",
    later: () => {},
  });
  const [{ type, source, options }] = snapshots.prepare("work", parent);
  const words = type === "bind" ? ["--bind"] : ["-t", type, "-o", options.join(",")];
  must("mount", ...words, source, at);
  fill(at);
  must("umount", at);
  snapshots.commit(name, "work", { sync: true });
  mark();
}

/** Imports layers, every second one from a tar; marks each when its commit has returned. */
function importLayers(store: Store, scratch: string, mark: (text: string) => void) {
  const random = randomOf(SEED), trees = new Map<string, string>();
  const at = `${scratch}/at`;
  Deno.mkdirSync(at);
  for (let i = 0; i < LAYERS; i++) {
    const name = `layer-${i}`, isSide = i % 4 === 3;
    const parent = i === 0 || random(5) === 0 ? "" : `layer-${i - (i % 4 === 0 ? 2 : 1)}`;
    if (i % 2 === 0) {
      serve(store, at, { name, parent }, {
        fill: (root) => fill(root, random, `m${i}`),
        mark: () => mark(`+${name}`),
      });
      continue;
    }
    const tree = `${scratch}/${i}`;
    Deno.mkdirSync(tree);
    fill(tree, random, `t${i}`);
    using snapshots = openSnapshotter(store);
    snapshots.prepare("work", parent);
    snapshots.applyDiff("work", tarOf(tree, `${tree}.tar`));
    snapshots.commit(name, "work");
    mark(`+${name}`);
    if (!isSide) continue;
    trees.set(name, treeOf(snapshots, name));
    // From now on it may be there or not.
    mark(`-${name}`);
    snapshots.remove(name);
  }
  using snapshots = openSnapshotter(store);
  for (const { name, kind } of snapshots.walk()) {
    if (kind === "committed") trees.set(name, treeOf(snapshots, name));
  }
  snapshots.cleanup(); // devicemapper's pool.
  return trees;
}

/** The names that were promised to be there by then. */
function promised(marks: readonly string[]): string[] {
  const names = new Set<string>();
  for (const mark of marks) {
    if (mark.startsWith("+")) names.add(mark.slice(1));
    else names.delete(mark.slice(1));
  }
  return [...names];
}

/** A finding of a check. */
interface Finding {
  readonly isNote: boolean;
  readonly breaks: { readonly layers: string[] };
}

/** What a command on a store prints as JSON, whatever its status. */
function outcome<T>({ root, driver }: Store, command: string): T {
  const [program, ...words] = PROGRAM;
  const options = ["--root", root, "--driver", driver, "--json"];
  const { stdout, stderr } = run(program, ...words, ...options, command);
  assert(stdout !== "", stderr);
  return JSON.parse(stdout);
}

/** What check says is damaged. */
const damage = (store: Store): Finding[] =>
  outcome<{ findings: Finding[] }>(store, "check").findings.filter(({ isNote }) => !isNote);

/** Checks a store: what was promised is whole, and a repair mends or moves aside all else. */
function care(store: Store, names: readonly string[]): void {
  const found = damage(store);
  const isPromised = ({ breaks }: Finding) => breaks.layers.some((name) => names.includes(name));
  assertEquals(found.filter(isPromised), []);
  const { lost } = outcome<{ lost: { name: string }[] }>(store, "repair");
  assertEquals(lost.filter(({ name }) => names.includes(name)), [], "promised, and given up");
  assertEquals(damage(store), [], "left by a repair");
}

/** Looks at a disk that lost its power, and works on with it. */
function look(store: Store, trees: ReadonlyMap<string, string>, { marks }: CutDisk): void {
  const names = promised(marks);
  care(store, names);
  using snapshots = openSnapshotter(store);
  const there = [...snapshots.walk()].map(({ name }) => name);
  assertEquals(names.filter((name) => !there.includes(name)), [], "snapshots that are lost");
  // What was being made, or looked at.
  for (const key of snapshots.active()) snapshots.remove(key);
  // A view of each would take long: of the last, with all those below it, and of another.
  for (const name of new Set([names.at(-1)!, names[marks.length % names.length]])) {
    assertEquals(treeOf(snapshots, name), trees.get(name), `the tree of ${name}`);
  }
  snapshots.cleanup();
  snapshots.prepare("new", names.at(-1)!);
  Deno.writeTextFileSync(`${snapshots.mount("new")}/new`, "");
  snapshots.unmount("new");
  snapshots.commit("new layer", "new");
  snapshots.cleanup();
}

for (const [kind, mebibytes, driver] of DISKS) {
  const lacking = lacksWriteLog(kind) ??
    (driver === "overlay2" ? lacksFileSystem("overlay") : undefined) ??
    (driver === "devicemapper" ? lacksDevices : undefined);
  needs(lacking, `${driver} on ${kind}, sync=layer: power cuts lose no committed layer`, () => {
    using directory = tempDir();
    using disk = new LoggedDisk(kind, directory.path, mebibytes << 20);
    using scratch = tempDir();
    const store = storeOn(disk.mountPoint, driver);
    const trees = importLayers(store, scratch.path, (text) => disk.mark(text));
    const log = disk.end();
    const { begin, length } = log, random = randomOf(SEED);
    assert(length > 10 * LAYERS, `${length} writes`);
    // Nothing is promised before the first mark.
    const cuts = new Set<number>();
    while (cuts.size < CUTS) cuts.add(begin + 1 + random(length - begin));
    const ascending = [...cuts].sort((a, b) => a - b);
    log.replay(ascending, (cut) => look(store, trees, cut));
    console.log(`${driver} on ${kind}: ${CUTS} power cuts in ${length} writes`);
  });
}
