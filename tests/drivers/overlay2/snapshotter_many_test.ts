/** Thousands of snapshots in one store, every one with its layer. */
import { assert, assertEquals } from "@std/assert";
import { IS_LONG, needs } from "../../support/cases.ts";
import { layersOnDisk } from "./snapshotter_support.ts";
import { openStore } from "../kill/snapshotter.ts";
import { assertConsistent } from "../snapshotter/store.ts";
import { storeDir } from "../../support/store_dir.ts";
import { lacking } from "./support.ts";

const COUNT = IS_LONG ? 10_000 : 2_000;

needs(lacking, "overlay2 snapshots: thousands of snapshots are walked through", () => {
  using dir = storeDir();
  const snapshots = openStore(`${dir.path}/root`, "overlay2");
  const took = (what: string, action: () => void) => {
    const start = performance.now();
    action();
    console.log(`${what}: ${(performance.now() - start).toFixed(0)} ms`);
  };
  snapshots.prepare("key", "");
  snapshots.commit("base", "key");
  took(`prepare ${COUNT - 1}, of which every tenth is committed and every tenth a view`, () => {
    for (let i = 1; i < COUNT; i++) {
      const labels = new Map([["tenth", `${i % 10}`], ["containerd.io/gc.ref/é", `${i}`]]);
      if (i % 10 === 0) snapshots.view(`key ${i}`, "base", { labels });
      else snapshots.prepare(`key ${i}`, i % 10 === 2 ? "" : "base", { labels });
      if (i % 10 === 1) snapshots.commit(`name ${i}`, `key ${i}`, { labels });
    }
  });

  const found = (...filters: string[]) => [...snapshots.walk(filters)].map(({ name }) => name);
  const tenth = COUNT / 10;
  took("walk through all", () => {
    const names = found();
    assertEquals(names.length, COUNT);
    assertEquals(names, names.toSorted());
  });
  took("walk by kind", () => assertEquals(found("kind==committed").length, tenth + 1));
  took("walk by parent", () => assertEquals(found("parent==base").length, COUNT - 1 - tenth));
  took("walk by label", () => assertEquals(found("labels.tenth==7").length, tenth));
  took("walk by two, of either", () => {
    assertEquals(found("labels.tenth==3,kind==active", "kind==view").length, 2 * tenth - 1);
  });
  took("walk by expression", () => {
    assertEquals(found('name~="^key 12..$"').length, 90);
  });
  took("walk to one name", () => assertEquals(found('name=="key 1242"'), ["key 1242"]));
  took("stat of each", () => {
    for (const { name, layer } of snapshots.walk()) {
      assertEquals(snapshots.stat(name).layer, layer);
    }
  });
  took("open", () => openStore(`${dir.path}/root`, "overlay2").close());
  assertConsistent(snapshots, layersOnDisk);
  let removed = 0;
  took("remove a tenth while walking", () => {
    for (const { name, kind } of snapshots.walk(["kind!=committed"])) {
      assert(kind !== "committed");
      snapshots.remove(name);
      if (++removed === tenth) break;
    }
  });
  assertEquals(found().length, COUNT - removed);
  assertConsistent(snapshots, layersOnDisk);
  snapshots.close();
});
