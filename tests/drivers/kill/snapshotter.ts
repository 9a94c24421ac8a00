/**
 * Killing a snapshotter before each system call of its operations, those of its database among them, and
 * looking at what is left: all that was reported done, and nothing that belongs to no snapshot.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openSnapshotter } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import type { SnapshotInfo, Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { mountPoints, needs, type TempDir } from "../../support/cases.ts";
import { lacksKilling } from "./graph.ts";
import { killBeforeEveryCall } from "./killing.ts";
import { commitChanged, mounted, treeOf, write } from "../snapshotter/mounting.ts";
import { assertConsistent, type LayersOnDisk, removeAll } from "../snapshotter/store.ts";
import { refuses } from "../../support/errors.ts";
import { describeTree } from "../../support/trees.ts";
import { tar } from "../../tar/support/tar_builder.ts";

const LABELS = new Map([["a", "1"], ["b", "2"]]);

/** The operation that changes a snapshot's content, and not which snapshots there are. */
const APPLY = "apply";

/** What each operation does to the store that {@linkcode prepareStore} makes. */
export const OPERATIONS: Readonly<Record<string, (snapshots: Snapshotter) => unknown>> = {
  prepare: (snapshots) => snapshots.prepare("new", "child", { labels: LABELS }),
  view: (snapshots) => snapshots.view("new", "child", { labels: LABELS }),
  commit: (snapshots) => snapshots.commit("name", "active", { labels: LABELS }),
  remove: (snapshots) => snapshots.remove("active"),
  [APPLY]: (snapshots) => snapshots.applyDiff("active", tarFor(snapshots)),
};

/** The tar that is applied, beside the store's root. */
const tarFor = ({ home }: Snapshotter) => join(home, "../../../scratch/layer.tar");

/** The name of an operation that is to open a store that is not there yet. */
export const OPEN = "open";

/** Opens a store, as the process that is killed does, too. */
export const openStore = (root: string, driver: string): Snapshotter =>
  openSnapshotter({ root, driver, options: [], idMaps: IDENTITY, warn: () => {} });

/** What a store is before an operation. */
export interface Before {
  readonly infos: ReadonlyMap<string, SnapshotInfo>;
  readonly trees: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/** Registers the kill cases of a driver. */
export function snapshotterKillCases(
  driver: string,
  lacking: string | undefined,
  layers: LayersOnDisk,
): void {
  for (const operation of [...Object.keys(OPERATIONS), OPEN]) {
    needs(
      lacking ?? lacksKilling,
      `${driver} snapshots: killed before every system call of ${operation}`,
      () =>
        killBeforeEveryCall({
          name: `${driver} snapshots, ${operation}`,
          script: "snapshotter_child.ts",
          arguments: ({ path }) => [`${path}/root`, driver, operation],
          prepare: ({ path }) =>
            prepareStore(() => openStore(`${path}/root`, driver), path, operation),
          verify: (dir, before, done) => {
            const snapshots = openStore(`${dir.path}/root`, driver);
            verifyStore(snapshots, dir, { operation, before, done, layers });
            snapshots.close();
          },
        }),
    );
  }
}

/** Two committed snapshots, an active one with changes, and a view. */
export function prepareStore(open: () => Snapshotter, path: string, operation: string): Before {
  const scratch = join(path, "scratch");
  Deno.mkdirSync(scratch, { recursive: true });
  if (operation === OPEN) return { infos: new Map(), trees: new Map() };
  const snapshots = open();
  commitChanged(snapshots, scratch, {
    name: "base",
    change(root) {
      Deno.mkdirSync(`${root}/directory`);
      for (const file of ["kept", "removed", "directory/inside"]) write(`${root}/${file}`, file);
    },
  });
  const change = (name: string) => (root: string) => {
    write(`${root}/${name}`, name.repeat(20_000));
    write(`${root}/kept`, name);
  };
  commitChanged(snapshots, scratch, { name: "child", parent: "base", change: change("child") });
  snapshots.prepare("active", "child", { labels: new Map([["of", "active"]]) });
  mounted(snapshots, "active", scratch, (root) => {
    change("active")(root);
    Deno.removeSync(`${root}/removed`);
  });
  snapshots.view("view", "base");
  const entries = [{ name: ".wh.kept" }, { name: "applied", data: "x".repeat(20_000) }];
  Deno.writeFileSync(join(scratch, "layer.tar"), tar(...entries));
  const infos = new Map([...snapshots.walk()].map((info) => [info.name, info]));
  const trees = new Map([...infos].map((
    [name, { kind }],
  ) => [name, lookAt(snapshots, scratch, name, kind)]));
  snapshots.close();
  return { infos, trees };
}

function lookAt(
  snapshots: Snapshotter,
  scratch: string,
  name: string,
  kind: string,
): Map<string, string> {
  return kind === "committed"
    ? treeOf(snapshots, scratch, name)
    : mounted(snapshots, name, scratch, describeTree);
}

/** What {@linkcode verifyStore} has to know. */
export interface Killed {
  readonly operation: string;
  readonly before: Before;
  /** Whether the operation was reported done. */
  readonly done: boolean;
  readonly layers: LayersOnDisk;
}

/** What must hold whatever was killed; empties the store. */
export function verifyStore(
  snapshots: Snapshotter,
  dir: TempDir,
  { operation, before, done, layers }: Killed,
): void {
  const scratch = join(dir.path, "scratch");
  // A tree that was mounted for the transfer goes with the next cleanup, and so does the home's own mount.
  if (operation === APPLY) snapshots.cleanup();
  assertEquals(mountPoints(dir.path), []);
  assertConsistent(snapshots, layers, true);

  const [gone, made] = OUTCOMES[operation] ?? [];
  const infos = new Map([...snapshots.walk()].map((info) => [info.name, info]));
  if (operation === APPLY) verifyApplied(snapshots, scratch, before.trees.get("active")!, done);
  const happened = operation === APPLY
    ? true
    : made !== undefined
    ? infos.has(made)
    : gone !== undefined && !infos.has(gone);
  assert(happened || !done || operation === OPEN, `${operation} was reported done, and is not`);
  const expected = new Set(before.infos.keys());
  if (happened && gone !== undefined) expected.delete(gone);
  if (happened && made !== undefined) expected.add(made);
  assertEquals([...infos.keys()].sort(), [...expected].sort());
  for (const [name, info] of infos) {
    if (operation === APPLY && name === "active") continue;
    const source = name !== made ? name : operation === "commit" ? "active" : "child";
    assertEquals(lookAt(snapshots, scratch, name, info.kind), before.trees.get(source), name);
    if (name !== made) assertEquals(info, before.infos.get(name));
    else {
      const kind = operation === "commit" ? "committed" : operation === "view" ? "view" : "active";
      assertEquals([info.kind, info.parent, info.labels], [kind, "child", LABELS]);
    }
  }

  if (!happened) OPERATIONS[operation]?.(snapshots);
  if (operation === APPLY) snapshots.cleanup();
  if (operation === OPEN) commitChanged(snapshots, scratch, { name: "first" });
  assertConsistent(snapshots, layers, true);
  removeAll(snapshots);
  assertConsistent(snapshots, layers, true);
}

/** The tar is applied, or it is not and can be: to the end, as a model has it. */
function verifyApplied(
  snapshots: Snapshotter,
  scratch: string,
  before: ReadonlyMap<string, string>,
  done: boolean,
): void {
  const tree = () => mounted(snapshots, "active", scratch, describeTree);
  const isIncomplete = snapshots.stat("active").incomplete;
  assert(!isIncomplete || !done, "an apply was reported done, and is not");
  const isApplied = !isIncomplete && tree().has("/applied");
  if (!isIncomplete && !isApplied) assertEquals(tree(), before);
  if (isIncomplete) refuses("failed precondition", () => snapshots.mount("active"));
  if (!isApplied) snapshots.applyDiff("active", tarFor(snapshots));
  const names = (tree: ReadonlyMap<string, string>) => [...tree.keys()].sort();
  // One that was begun has lost what was written before.
  const kept = names(before).filter((name) =>
    name !== "/kept" && (!isIncomplete || name !== "/active")
  );
  const restored = isIncomplete ? ["/removed"] : [];
  assertEquals(names(tree()), [...kept, ...restored, "/applied"].sort());
}

/** Which snapshot an operation takes away, and which it makes. */
const OUTCOMES: Readonly<Record<string, readonly [gone?: string, made?: string]>> = {
  prepare: [undefined, "new"],
  view: [undefined, "new"],
  commit: ["active", "name"],
  remove: ["active"],
};
