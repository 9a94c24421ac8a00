/** Mounting snapshots, as this program does and as others do, and what cases do while they are mounted. */
import { assert, assertEquals } from "@std/assert";
import type { Mount } from "../../../lib/mount/plan.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { must } from "../../support/cases.ts";
import { describeTree } from "../../support/trees.ts";

/** What is done to a mounted tree. */
export type Change = (root: string) => void;

/** Mounts a snapshot at a directory, for as long as `use` takes. */
export function mounted<T>(
  snapshots: Snapshotter,
  key: string,
  scratch: string,
  use: (root: string) => T,
): T {
  const target = Deno.makeTempDirSync({ dir: scratch, prefix: "mount-" });
  const root = snapshots.mount(key, target);
  try {
    return use(root);
  } finally {
    snapshots.unmountAt(root);
    Deno.removeSync(target);
  }
}

/** Mounts what `mounts` says by mount(8), as a program does that has nothing but the triples. */
export function mountedByTriples<T>(
  mounts: readonly Mount[],
  scratch: string,
  use: (root: string) => T,
): T {
  assert(mounts.length > 0, "there is something to mount");
  const target = Deno.makeTempDirSync({ dir: scratch, prefix: "triples-" });
  let done = 0;
  try {
    for (const { type, source, options } of mounts) {
      // mount(8) takes a bind mount's type for an option.
      const typed = type === "bind" ? [] : ["-t", type];
      const opted = options.length > 0 ? ["-o", options.join(",")] : [];
      must("mount", ...typed, ...opted, source, target);
      done++;
    }
    return use(target);
  } finally {
    for (; done > 0; done--) must("umount", target);
    Deno.removeSync(target);
  }
}

let keys = 0;

/** Makes a committed snapshot by way of an active one that is mounted and changed. */
export function commitChanged(
  snapshots: Snapshotter,
  scratch: string,
  { name, parent = "", change = () => {} }: { name: string; parent?: string; change?: Change },
): void {
  const key = `preparing ${name} ${keys++}`;
  snapshots.prepare(key, parent);
  mounted(snapshots, key, scratch, change);
  snapshots.commit(name, key);
}

/** The tree of a committed snapshot, seen through a view of it. */
export function treeOf(
  snapshots: Snapshotter,
  scratch: string,
  name: string,
): Map<string, string> {
  const key = `view of ${name} ${keys++}`;
  snapshots.view(key, name);
  try {
    return mounted(snapshots, key, scratch, describeTree);
  } finally {
    snapshots.remove(key);
  }
}

/** A tree without times: what two trees share that were changed alike, one after the other. */
export function timeless(tree: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...tree].map(([path, text]) => [
    path,
    text.replace(/^((?:file|link|special) \d+ \d+:\d+) \d+/, "$1"),
  ]));
}

/**
 * Makes a chain of snapshots, each by a change of the one before, and holds each, through a view, to a plain
 * directory that had the same changes.
 */
export function checkChain(
  snapshots: Snapshotter,
  scratch: string,
  changes: readonly Change[],
  prefix = "chain",
): void {
  const flat = Deno.makeTempDirSync({ dir: scratch, prefix: "flat-" });
  let parent = "";
  for (const [i, change] of changes.entries()) {
    const name = `${prefix}-${i}`;
    commitChanged(snapshots, scratch, { name, parent, change });
    change(flat);
    const tree = treeOf(snapshots, scratch, name);
    assertEquals(timeless(tree), timeless(describeTree(flat)), `snapshot ${i} of the chain`);
    parent = name;
  }
}

/** Writes a file with a mode. */
export function write(path: string, text: string, mode = 0o644): void {
  Deno.writeTextFileSync(path, text);
  Deno.chmodSync(path, mode);
}

/** Makes a directory with a mode. */
export function mkdir(path: string, mode = 0o755): void {
  Deno.mkdirSync(path);
  Deno.chmodSync(path, mode);
}

/** Removes a file, or a directory with all in it. */
export const removeTree = (path: string) => Deno.removeSync(path, { recursive: true });
