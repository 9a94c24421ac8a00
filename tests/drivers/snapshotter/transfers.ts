/** Cases about tars that are applied to snapshots, and made of their changes. */
import { assert, assertEquals } from "@std/assert";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { formatChange } from "../../../lib/tree/changes.ts";
import { must, run } from "../../support/cases.ts";
import { refuses } from "../../support/errors.ts";
import { tar, type TarEntry } from "../../tar/support/tar_builder.ts";
import { commitChanged, mkdir, mounted, treeOf, write } from "./mounting.ts";
import type { SnapshotterSuite, Store } from "./suite.ts";

const BASE: readonly TarEntry[] = [
  { name: "etc/", type: "5", mode: 0o750 },
  { name: "etc/hosts", data: "here\n", uid: 7 },
  { name: "etc/old", data: "old\n" },
  { name: "var/", type: "5" },
  { name: "var/a/", type: "5" },
  { name: "var/a/file", data: "a" },
];

/** An image's second layer: a file less, a directory replaced, a link to a file of the first. */
const SECOND: readonly TarEntry[] = [
  { name: "etc/.wh.old" },
  { name: "etc/link", type: "1", link: "etc/hosts" },
  { name: "var/a/", type: "5" },
  { name: "var/a/.wh..wh..opq" },
  { name: "var/a/new", data: "new" },
];

const SECOND_CHANGES = [
  "C /etc",
  "C /etc/hosts",
  "A /etc/link",
  "D /etc/old",
  "C /var",
  "C /var/a",
  "D /var/a/file",
  "A /var/a/new",
];

/** Writes a tar into the case's scratch directory; returns its path. */
function put({ scratch }: Store, name: string, ...entries: readonly TarEntry[]): string {
  const path = `${scratch}/${name}.tar`;
  Deno.writeFileSync(path, tar(...entries));
  return path;
}

/** Commits what a tar makes of a parent. */
function commitTar(snapshots: Snapshotter, name: string, parent: string, path: string): number {
  const key = `applying ${name}`;
  snapshots.prepare(key, parent);
  const size = snapshots.applyDiff(key, path);
  snapshots.commit(name, key);
  return size;
}

const changesOf = (snapshots: Snapshotter, key: string, parent?: string) =>
  Array.from(snapshots.changes(key, parent), formatChange)
    // Hard links count as changes of their file on file systems alone that have its other names.
    .filter((line) => line !== "C /etc/hosts");

export function transfers(suite: SnapshotterSuite): void {
  const test = (name: string, body: (store: Store) => void) =>
    suite.case(name, (store) => {
      body(store);
      // The home keeps its own mount, below which trees were mounted, until the store is closed.
      store.snapshots.cleanup();
    });

  test(
    "an image's layers are applied each on the one before, and leave again as tars",
    (store) => {
      const { snapshots, scratch } = store;
      assertEquals(commitTar(snapshots, "base", "", put(store, "base", ...BASE)), 10);
      commitTar(snapshots, "second", "base", put(store, "second", ...SECOND));
      const tree = treeOf(snapshots, scratch, "second");
      assertEquals([...tree.keys()].sort(), [
        "/etc",
        "/etc/hosts",
        "/etc/link",
        "/var",
        "/var/a",
        "/var/a/new",
      ]);
      const expected = SECOND_CHANGES.filter((line) => line !== "C /etc/hosts");
      assertEquals(changesOf(snapshots, "second"), expected);
      assertEquals(changesOf(snapshots, "base").length, 6);
      assertEquals(changesOf(snapshots, "second", "").length, 6);

      for (const name of ["base", "second"]) {
        assert(snapshots.diff(name, `${scratch}/${name}-again.tar`) > 0);
        const parent = name === "base" ? "" : "base again";
        commitTar(snapshots, `${name} again`, parent, `${scratch}/${name}-again.tar`);
        assertEquals(
          treeOf(snapshots, scratch, `${name} again`),
          treeOf(snapshots, scratch, name),
          name,
        );
      }
      snapshots.diff("second", `${scratch}/whole.tar`, { parent: "" });
      commitTar(snapshots, "whole", "", `${scratch}/whole.tar`);
      assertEquals(treeOf(snapshots, scratch, "whole"), tree);
      for (const file of Deno.readDirSync(scratch)) Deno.removeSync(`${scratch}/${file.name}`);
    },
  );

  test("a snapshot that a tar was not applied to is not used, and starts over", (store) => {
    const { snapshots, scratch, reopen } = store;
    commitTar(snapshots, "base", "", put(store, "base", ...BASE));
    snapshots.prepare("work", "base");
    const whole = tar({ name: "first", data: "x".repeat(5000) }, { name: "last", data: "y" });
    Deno.writeFileSync(`${scratch}/cut.tar`, whole.subarray(0, 3000));
    const message = refuses(
      "invalid argument",
      () => snapshots.applyDiff("work", `${scratch}/cut.tar`),
    );
    assert(message.includes('snapshot "work" is incomplete: apply again or remove it'), message);
    const other = reopen();
    for (const again of [snapshots, other]) {
      assertEquals(again.stat("work").incomplete, true);
      const uses: ((snapshots: Snapshotter) => unknown)[] = [
        (it) => it.mount("work"),
        (it) => it.mounts("work"),
        (it) => it.commit("never", "work"),
        (it) => it.diff("work", `${scratch}/never.tar`),
        (it) => it.changes("work"),
      ];
      for (const use of uses) refuses("failed precondition", () => use(again), "is incomplete");
    }
    other.close();
    assertEquals(Array.from(snapshots.walk(), ({ incomplete }) => incomplete), [undefined, true]);
    Deno.writeFileSync(`${scratch}/cut.tar`, whole);
    snapshots.applyDiff("work", `${scratch}/cut.tar`);
    assertEquals(snapshots.stat("work").incomplete, undefined);
    assertEquals(changesOf(snapshots, "work"), ["A /first", "A /last"]);

    snapshots.prepare("other", "base");
    // Input that is no tar changes nothing.
    Deno.writeTextFileSync(`${scratch}/text`, "no tar\n".repeat(200));
    refuses("invalid argument", () => snapshots.applyDiff("other", `${scratch}/text`));
    assertEquals(snapshots.stat("other").incomplete, undefined);
    // A name that leads out of the layer, after one that does not.
    const odd = put(store, "odd", { name: "fine" }, { name: "../../odd", data: "z" });
    refuses("invalid argument", () => snapshots.applyDiff("other", odd));
    snapshots.remove("other");
    snapshots.prepare("other", "base");
    assertEquals(snapshots.stat("other").incomplete, undefined);
    mounted(snapshots, "other", scratch, (root) => write(`${root}/x`, ""));
    for (const file of Deno.readDirSync(scratch)) Deno.removeSync(`${scratch}/${file.name}`);
  });

  test("only an unmounted active snapshot is applied to", (store) => {
    const { snapshots, scratch } = store;
    const path = put(store, "base", ...BASE);
    commitTar(snapshots, "base", "", path);
    snapshots.view("view", "base");
    for (const key of ["view", "base"]) {
      refuses("failed precondition", () => snapshots.applyDiff(key, path), "never changes");
    }
    refuses("not found", () => snapshots.applyDiff("missing", path));
    snapshots.prepare("work", "base");
    mounted(snapshots, "work", scratch, () => {
      refuses("in use", () => snapshots.applyDiff("work", path));
    });
    snapshots.mount("work");
    refuses("in use", () => snapshots.applyDiff("work", path), 'snapshot "work" is mounted at');
    snapshots.unmount("work");
    assertEquals(snapshots.stat("work").incomplete, undefined);
    snapshots.applyDiff("work", path);
    Deno.removeSync(path);
  });

  test(
    "changes are read of a snapshot that is mounted, and one that is read stays",
    (store) => {
      const { snapshots, scratch } = store;
      commitChanged(snapshots, scratch, {
        name: "base",
        change(root) {
          mkdir(`${root}/directory`, 0o755);
          write(`${root}/directory/file`, "x");
        },
      });
      snapshots.prepare("work", "base");
      const root = snapshots.mount("work");
      write(`${root}/added`, "x");
      Deno.removeSync(`${root}/directory/file`);
      assertEquals(changesOf(snapshots, "work"), [
        "A /added",
        "C /directory",
        "D /directory/file",
      ]);
      snapshots.unmount("work");
      {
        using changes = snapshots.changes("work");
        changes.next();
        refuses("in use", () => snapshots.remove("work"), "is being read or applied to");
        refuses("in use", () => snapshots.commit("name", "work"), "is being read or applied to");
      }
      snapshots.commit("name", "work");
      assertEquals(changesOf(snapshots, "name").length, 3);
      snapshots.diff("name", `${scratch}/name.tar`);
      assertEquals(must("tar", "-tf", `${scratch}/name.tar`).split("\n").sort(), [
        "",
        "added",
        "directory/",
        "directory/.wh.file",
      ]);
      Deno.removeSync(`${scratch}/name.tar`);
    },
  );

  test("a compressed tar, and one that is larger than what a Worker is worth", (store) => {
    const { snapshots, scratch } = store;
    const files = Array.from({ length: 40 }, (_, i) => ({
      name: `file-${i}`,
      data: new Uint8Array(300_000).fill(i),
    }));
    const path = put(store, "large", ...files);
    assert(run("gzip", "-1", path).success);
    assertEquals(commitTar(snapshots, "large", "", `${path}.gz`), 40 * 300_000);
    assertEquals(treeOf(snapshots, scratch, "large").size, 40);
    Deno.removeSync(`${path}.gz`);
  });
}
