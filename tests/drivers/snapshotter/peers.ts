/** The cases of the field's own snapshotter suite that are about what becomes of a snapshot, under their names. */
import { assert, assertEquals } from "@std/assert";
import type { SnapshotKind } from "../../../lib/snapshots/snapshotter.ts";
import { describeTree } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";
import {
  commitChanged,
  mkdir,
  mounted,
  mountedByTriples,
  removeTree,
  timeless,
  write,
} from "./mounting.ts";
import type { SnapshotterSuite, Store } from "./suite.ts";

const labels = new Map([["containerd.io/gc.root", "2026-01-01T00:00:00Z"]]);

export function peers(suite: SnapshotterSuite): void {
  suite.case("Basic", ({ snapshots, scratch }) => {
    const first = (root: string) => {
      write(`${root}/foo`, "foo\n", 0o777);
      for (const path of ["a", "a/b", "a/b/c"]) mkdir(`${root}/${path}`);
    };
    const second = (root: string) => {
      write(`${root}/bar`, "bar\n", 0o777);
      write(`${root}/foo`, "bar\n", 0o777);
      removeTree(`${root}/a/b`);
    };
    const flat = `${scratch}/flat`;
    const expected = () => timeless(describeTree(flat));
    mkdir(flat);

    // As a client does it that knows nothing else: what is prepared says how it is mounted.
    const [key, name] = ["work/preparing", "work/committed"];
    mountedByTriples(snapshots.prepare(key, "", { labels }), scratch, first);
    first(flat);
    assertEquals(timeless(mounted(snapshots, key, scratch, describeTree)), expected());
    snapshots.commit(name, key, { labels });
    const lower = snapshots.stat(name);
    assertEquals([lower.kind, lower.parent, lower.name], ["committed", "", name]);
    assertEquals(lower.labels, labels);
    assertFails("not found", () => snapshots.stat(key));

    const [next, nextName] = ["work/next", "work/committed next"];
    mountedByTriples(snapshots.prepare(next, name, { labels }), scratch, (root) => {
      assertEquals(timeless(describeTree(root)), expected());
      second(root);
    });
    second(flat);
    assertEquals(timeless(mounted(snapshots, next, scratch, describeTree)), expected());
    assertEquals(
      timeless(mountedByTriples(snapshots.mounts(next), scratch, describeTree)),
      expected(),
    );
    const active = snapshots.stat(next);
    assertEquals([active.kind, active.parent], ["active", name]);
    snapshots.commit(nextName, next, { labels });
    const upper = snapshots.stat(nextName);
    assertEquals([upper.kind, upper.parent], ["committed", name]);
    assertFails("not found", () => snapshots.stat(next));
    assertEquals([...snapshots.walk()], [lower, upper]);

    const triples = snapshots.view("view", nextName, { labels });
    assertEquals(timeless(mountedByTriples(triples, scratch, describeTree)), expected());
    assertEquals(timeless(mounted(snapshots, "view", scratch, describeTree)), expected());
    snapshots.remove("view");
    const error = assertFails("failed precondition", () => snapshots.remove(name));
    assert(error.message.includes(nextName), error.message);
    snapshots.remove(nextName);
    snapshots.remove(name);
    assertEquals([...snapshots.walk()], []);
  });

  suite.case("StatActive", ({ snapshots, scratch }) => {
    snapshots.prepare("key", "", { labels });
    mounted(snapshots, "key", scratch, (root) => {
      write(`${root}/foo`, "foo\n", 0o777);
      const { name, kind, parent, labels: own } = snapshots.stat("key");
      assertEquals([name, kind, parent, own], ["key", "active", "", labels]);
    });
  });

  suite.case("StatComitted", ({ snapshots, scratch }) => {
    snapshots.prepare("key", "", { labels });
    mounted(snapshots, "key", scratch, (root) => {
      write(`${root}/foo`, "foo\n", 0o777);
    });
    snapshots.commit("name", "key", { labels });
    const { name, kind, parent, labels: own } = snapshots.stat("name");
    assertEquals([name, kind, parent, own], ["name", "committed", "", labels]);
  });

  suite.case("TransitivityTest", ({ snapshots, scratch }) => {
    commitChanged(snapshots, scratch, { name: "a", change: (root) => write(`${root}/f`, "a") });
    commitChanged(snapshots, scratch, {
      name: "b",
      parent: "a",
      change: (root) => write(`${root}/f`, "b"),
    });
    assertEquals(snapshots.stat("a").parent, "");
    assertEquals(snapshots.stat("b").parent, "a");
    assertEquals(snapshots.stat(snapshots.stat("b").parent).parent, "");
    assertEquals([snapshots.parent("b"), snapshots.parent("a")], ["a", ""]);
  });

  suite.case("PreareViewFailingtest", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("base", "key");
    snapshots.prepare("active", "base");
    snapshots.view("view", "base");
    const before = [...snapshots.walk()];
    for (const taken of ["active", "view", "base"]) {
      for (const parent of ["base", ""]) {
        assertFails("already exists", () => snapshots.prepare(taken, parent));
        assertFails("already exists", () => snapshots.view(taken, parent));
      }
    }
    assertEquals([...snapshots.walk()], before);
  });

  suite.case("Update", update);

  suite.case("Remove", ({ snapshots, scratch }) => {
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, ""),
    });
    const look = () =>
      mounted(snapshots, "again", scratch, (root) => [...Deno.readDirSync(root)].length);
    snapshots.prepare("again", "base");
    mounted(snapshots, "again", scratch, (root) => write(`${root}/own`, ""));
    assertEquals(look(), 2);
    snapshots.remove("again");
    snapshots.view("again", "base");
    assertEquals(look(), 1);
    snapshots.remove("again");
    snapshots.prepare("again", "");
    assertEquals(look(), 0);
    snapshots.remove("base");
    snapshots.commit("base", "again");
    assertEquals([...snapshots.walk()].map(({ name }) => name), ["base"]);
  });

  suite.case("RemoveIntermediateSnapshot", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("base", "key");
    snapshots.prepare("key", "base");
    snapshots.commit("middle", "key");
    snapshots.prepare("top", "middle");
    for (const [below, child] of [["middle", "top"], ["base", "middle"]]) {
      const error = assertFails("failed precondition", () => snapshots.remove(below));
      assert(error.message.includes(child), `${error.message} names ${child}`);
    }
    for (const name of ["top", "middle", "base"]) snapshots.remove(name);
    assertEquals([...snapshots.walk()], []);
  });

  suite.case("Walk", walk);

  suite.case("StatInWalk", ({ snapshots }) => {
    makeSix(snapshots);
    const seen: string[] = [];
    for (const info of snapshots.walk()) {
      assertEquals(snapshots.stat(info.name), info);
      seen.push(info.name);
    }
    assertEquals(seen, ["a1", "a2", "c1", "c2", "v1", "v2"]);
    for (const { name, kind } of snapshots.walk()) {
      if (kind !== "committed") snapshots.remove(name);
    }
    assertEquals([...snapshots.walk()].map(({ name }) => name), ["c1", "c2"]);
  });

  suite.case("CloseTwice", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("name", "key");
    snapshots.remove("name");
    snapshots.close();
    snapshots.close();
  });
}

/** Of every kind one with a parent and one without. */
function makeSix(snapshots: Store["snapshots"]): void {
  snapshots.prepare("key", "");
  snapshots.commit("c1", "key");
  snapshots.prepare("key", "c1");
  snapshots.commit("c2", "key");
  snapshots.prepare("a1", "c2");
  snapshots.prepare("a2", "");
  snapshots.view("v1", "c2");
  snapshots.view("v2", "");
}

function update({ snapshots }: Store): void {
  const began = Date.now() * 1000;
  makeSix(snapshots);
  const ended = (Date.now() + 1) * 1000;
  const all: [string, SnapshotKind, string][] = [
    ["c1", "committed", ""],
    ["c2", "committed", "c1"],
    ["a1", "active", "c2"],
    ["a2", "active", ""],
    ["v1", "view", "c2"],
    ["v2", "view", ""],
  ];
  for (const [name, kind, parent] of all) {
    const before = snapshots.stat(name);
    assertEquals([before.name, before.kind, before.parent], [name, kind, parent]);
    assert(before.created >= began && before.created <= ended, `${before.created}`);
    assertEquals(before.updated, before.created);
    assertEquals(before.labels, new Map());

    const updating = Date.now() * 1000;
    const labels = new Map([["l1", "v1"], ["l2", "v2"], ["l3", "v3"], ["with.dots/and", "x"]]);
    const after = snapshots.update({ name, labels });
    assert(after.updated >= updating && after.updated <= (Date.now() + 1) * 1000);
    assertEquals(after, { ...before, labels, updated: after.updated });
    assertEquals(snapshots.stat(name), after);

    const some = new Map([["l1", "changed"], ["l4", "not named"]]);
    snapshots.update({ name, labels: some }, ["labels.l1", "labels.l2"]);
    const expected = new Map([["l1", "changed"], ["l3", "v3"], ["with.dots/and", "x"]]);
    assertEquals(snapshots.stat(name).labels, expected);
    snapshots.update({ name, labels: new Map() }, ["labels.with.dots/and"]);
    expected.delete("with.dots/and");
    assertEquals(snapshots.stat(name).labels, expected);
    snapshots.update({ name, labels: some }, ["labels"]);
    assertEquals(snapshots.stat(name).labels, some);
    snapshots.update({ name, labels: new Map([["l5", "alone"]]) });
    assertEquals(snapshots.stat(name).labels, new Map([["l5", "alone"]]));
    const last = snapshots.stat(name);
    for (const field of ["parent", "kind", "name", "created", "label", "*", ""]) {
      assertFails("invalid argument", () => snapshots.update({ name, labels }, [field]));
    }
    assertFails("invalid argument", () => snapshots.update({ name, labels }, ["labels", "kind"]));
    assertEquals(snapshots.stat(name), last);
  }
}

function walk({ snapshots }: Store): void {
  const own = (text?: string) => ({
    labels: new Map([["gc/root", "walk"], ...(text ? [["l", text] as const] : [])]),
  });
  snapshots.prepare("active alone", "", own());
  snapshots.prepare("key", "");
  snapshots.commit("p", "key", own());
  snapshots.prepare("active", "p", own());
  snapshots.view("view", "p", own());
  snapshots.prepare("key", "");
  snapshots.commit("p1", "key", own("1"));
  snapshots.prepare("active2", "p1", own("2"));
  snapshots.view("view3", "p1", own("3"));
  snapshots.prepare("alone2", "", own("2"));

  const all = ["active", "active alone", "active2", "alone2", "p", "p1", "view", "view3"];
  const rooted = 'labels."gc/root"==walk';
  const table: [filters: string[], names: string[]][] = [
    [[], all],
    [[""], all],
    [[rooted], all],
    [[`kind==active,${rooted}`], ["active", "active alone", "active2", "alone2"]],
    [[`kind==view,${rooted}`], ["view", "view3"]],
    [[`kind==committed,${rooted}`], ["p", "p1"]],
    [["name==p", "name==alone2"], ["alone2", "p"]],
    [["name==active2,labels.l"], ["active2"]],
    [["name==active,labels.l"], []],
    [["parent==p"], ["active", "view"]],
    [[`parent!="",${rooted}`], ["active", "active2", "view", "view3"]],
    [["labels.l"], ["active2", "alone2", "p1", "view3"]],
    [["labels.l==2"], ["active2", "alone2"]],
    [["labels.l!=2"], ["active", "active alone", "p", "p1", "view", "view3"]],
    [["name~=/^active/"], ["active", "active alone", "active2"]],
    [['name=="active alone"'], ["active alone"]],
    [["name==nothing"], []],
    [["kind==view", "kind==view,labels.l==3"], ["view", "view3"]],
  ];
  for (const [filters, names] of table) {
    const found = [...snapshots.walk(filters)];
    assertEquals(found.map(({ name }) => name), names, JSON.stringify(filters));
    for (const info of found) assertEquals(info, snapshots.stat(info.name));
  }
  for (const wrong of ["kind=", "name==p,", "==x", 'name=="open', "name~=/(/", "name=~x", "a b"]) {
    assertFails("invalid argument", () => void [...snapshots.walk([wrong])]);
  }
}
