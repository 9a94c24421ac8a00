/**
 * Power cuts at random moments of a loop that imports layers as committed snapshots, and removes some.
 */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import type { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import { must } from "../../support/cases.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { describeTree, tarOf } from "../../support/trees.ts";
import { cutPower, fill, type History, LAYERS, type Store } from "./power_cuts.ts";

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
const make: History["make"] = (store, scratch, random, mark) => {
  const trees = new Map<string, string>();
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
};

/** Looks at the snapshots, and commits another. */
const look: History["look"] = (store, names, looks, trees) => {
  using snapshots = openSnapshotter(store);
  const there = [...snapshots.walk()].map(({ name }) => name);
  assertEquals(names.filter((name) => !there.includes(name)), [], "snapshots that are lost");
  // What was being made, or looked at.
  for (const key of snapshots.active()) snapshots.remove(key);
  for (const name of looks) {
    assertEquals(treeOf(snapshots, name), trees.get(name), `the tree of ${name}`);
  }
  snapshots.cleanup();
  snapshots.prepare("new", names.at(-1)!);
  Deno.writeTextFileSync(`${snapshots.mount("new")}/new`, "");
  snapshots.unmount("new");
  snapshots.commit("new layer", "new");
  snapshots.cleanup();
};

cutPower("committed layer", { make, look });
