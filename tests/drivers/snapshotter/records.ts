/** What is known of a snapshot, what is refused, and what another process sees. */
import { assert, assertEquals } from "@std/assert";
import { commitChanged, mounted, treeOf, write } from "./mounting.ts";
import type { SnapshotterSuite } from "./suite.ts";
import { assertFails } from "../../support/errors.ts";

export function records(suite: SnapshotterSuite): void {
  suite.case("labels at commit are those given there", ({ snapshots }) => {
    const prepared = new Map([["kept", "no"], ["containerd.io/gc.root", "1"]]);
    snapshots.prepare("key", "", { labels: prepared });
    assertEquals(snapshots.stat("key").labels, prepared);
    snapshots.commit("without", "key");
    assertEquals(snapshots.stat("without").labels, new Map());
    snapshots.prepare("key", "without", { labels: prepared });
    const given = new Map([["given", "yes"], ["é=\"',\n", "any text"]]);
    // A label without a value is none.
    snapshots.commit("with", "key", { labels: new Map([...given, ["empty", ""]]) });
    assertEquals(snapshots.stat("with").labels, given);
    snapshots.view("key", "with", { labels: given });
    assertEquals(snapshots.stat("key").labels, given);
  });

  suite.case("labels that could not be are refused", ({ snapshots }) => {
    const long = "x".repeat(4097);
    for (const [key, value] of [["", "empty"], [long, ""], ["long", long]]) {
      const labels = new Map([[key, value]]);
      assertFails("invalid argument", () => snapshots.prepare("key", "", { labels }));
      assertFails("invalid argument", () => snapshots.view("key", "", { labels }));
    }
    assertEquals([...snapshots.walk()], []);
    snapshots.prepare("key", "");
    const labels = new Map([["", ""]]);
    const before = snapshots.stat("key");
    assertFails("invalid argument", () => snapshots.commit("name", "key", { labels }));
    assertFails("invalid argument", () => snapshots.update({ name: "key", labels }));
    assertEquals(snapshots.stat("key"), before);
  });

  suite.case("a commit is later than what it commits", ({ snapshots }) => {
    snapshots.prepare("key", "");
    const { created } = snapshots.stat("key");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3);
    snapshots.commit("name", "key");
    const committed = snapshots.stat("name");
    assert(committed.created >= created + 3000, `${committed.created} after ${created}`);
    assertEquals(committed.updated, committed.created);
  });

  suite.case("names and keys share one namespace", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("name", "key");
    snapshots.prepare("active", "name");
    snapshots.view("view", "name");
    snapshots.prepare("more", "name");
    const before = [...snapshots.walk()];
    for (const taken of ["name", "active", "view", "more"]) {
      assertFails("already exists", () => snapshots.prepare(taken, "name"));
      assertFails("already exists", () => snapshots.view(taken, ""));
      assertFails("already exists", () => snapshots.commit(taken, "more"));
    }
    assertEquals([...snapshots.walk()], before);
    snapshots.commit("key", "more");
    assertFails("not found", () => snapshots.stat("more"));
  });

  suite.case("a view is not committed, nor is what is committed", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("base", "key");
    snapshots.view("view", "base");
    snapshots.view("empty", "");
    const before = [...snapshots.walk()];
    for (const key of ["view", "empty", "base"]) {
      assertFails("failed precondition", () => snapshots.commit("name", key));
    }
    assertEquals([...snapshots.walk()], before);
  });

  suite.case("what is not committed is no parent", ({ snapshots }) => {
    snapshots.prepare("active", "");
    snapshots.view("view", "");
    const before = [...snapshots.walk()];
    for (const parent of ["active", "view"]) {
      assertFails("invalid argument", () => snapshots.prepare("key", parent));
      assertFails("invalid argument", () => snapshots.view("key", parent));
    }
    assertFails("not found", () => snapshots.prepare("key", "nothing"));
    assertFails("not found", () => snapshots.view("key", "key"));
    assertEquals([...snapshots.walk()], before);
  });

  suite.case("what is committed has no mounts", ({ snapshots, scratch }) => {
    snapshots.prepare("key", "");
    snapshots.commit("base", "key");
    assertFails("failed precondition", () => snapshots.mounts("base"));
    assertFails("failed precondition", () => snapshots.mount("base", scratch));
  });

  suite.case("a parent stays as long as it has children", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("base", "key");
    snapshots.prepare("active", "base");
    snapshots.view("view", "base");
    snapshots.prepare("key", "base");
    snapshots.commit("committed", "key");
    for (const child of ["active", "view", "committed"]) {
      assertFails("failed precondition", () => snapshots.remove("base"));
      assertFails("failed precondition", () => snapshots.delete("base"));
      snapshots.remove(child);
    }
    snapshots.remove("base");
    assertFails("not found", () => snapshots.prepare("key", "base"));
  });

  suite.case("the earlier names: parent, exists, delete, active", ({ snapshots }) => {
    snapshots.prepare("key", "");
    snapshots.commit("base", "key");
    snapshots.prepare("b", "base");
    snapshots.view("a", "base");
    assertEquals(snapshots.active(), ["a", "b"]);
    assertEquals(["base", "a", "b", "key"].map((name) => snapshots.exists(name)), [
      true,
      false,
      false,
      false,
    ]);
    assertEquals(snapshots.parent("base"), "");
    for (const key of ["a", "b"]) {
      assertFails("failed precondition", () => snapshots.delete(key));
    }
    snapshots.remove("a");
    snapshots.commit("child", "b");
    assertEquals(snapshots.parent("child"), "base");
    snapshots.delete("child");
    assertEquals(snapshots.exists("child"), false);
    assertEquals(snapshots.active(), []);
  });

  suite.case("what is not there is not found", ({ snapshots, scratch }) => {
    const calls: (() => unknown)[] = [
      () => snapshots.stat("x"),
      () => snapshots.mounts("x"),
      () => snapshots.mount("x"),
      () => snapshots.mount("x", scratch),
      () => snapshots.unmount("x"),
      () => snapshots.commit("name", "x"),
      () => snapshots.remove("x"),
      () => snapshots.delete("x"),
      () => snapshots.parent("x"),
      () => snapshots.usage("x"),
      () => snapshots.update({ name: "x", labels: new Map() }),
      () => snapshots.prepare("name", "x"),
      () => snapshots.view("name", "x"),
    ];
    for (const call of calls) {
      assert(assertFails("not found", () => void call()).message.includes("x"));
    }
    assertEquals([...snapshots.walk()], []);
  });

  suite.case("another process sees what this one did, and goes on", (store) => {
    const { snapshots, scratch, reopen } = store;
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, "content"),
    });
    snapshots.prepare("key", "base", { labels: new Map([["a", "b"]]) });
    const triples = snapshots.mounts("key");
    const other = reopen();
    assertEquals([...other.walk()], [...snapshots.walk()]);
    assertEquals(other.mounts("key"), triples);
    mounted(other, "key", scratch, (root) => write(`${root}/more`, "by another"));
    other.commit("child", "key");
    assertEquals([...treeOf(snapshots, scratch, "child").keys()], ["/file", "/more"]);
    snapshots.close();
    const third = reopen();
    assertEquals(third.stat("child"), other.stat("child"));
    third.remove("child");
    assertFails("not found", () => other.stat("child"));
  });

  suite.case("a commit may name its parent where layers allow it", ({ snapshots, scratch }) => {
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/below`, ""),
    });
    snapshots.prepare("key", "");
    mounted(snapshots, "key", scratch, (root) => write(`${root}/above`, ""));
    if (!suite.subject.rebases) {
      assertFails("not supported", () => snapshots.commit("name", "key", { parent: "base" }));
      assertEquals(snapshots.stat("key").kind, "active");
      return;
    }
    assertFails("not found", () => snapshots.commit("name", "key", { parent: "nothing" }));
    assertFails("failed precondition", () => snapshots.commit("name", "key", { parent: "key" }));
    snapshots.commit("name", "key", { parent: "base" });
    assertEquals(snapshots.stat("name").parent, "base");
    assertEquals([...treeOf(snapshots, scratch, "name").keys()], ["/above", "/below"]);
    assertFails("failed precondition", () => snapshots.remove("base"));
    snapshots.prepare("key", "base");
    assertEquals(snapshots.stat("key").parent, "base");
  });

  suite.case("cleanup has nothing to do after removals, and keeps what is there", (store) => {
    const { snapshots, scratch } = store;
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, "content"),
    });
    snapshots.prepare("key", "base");
    snapshots.prepare("gone", "base");
    snapshots.remove("gone");
    const before = [...snapshots.walk()];
    snapshots.cleanup();
    assertEquals(snapshots.cleanup(), []);
    assertEquals([...snapshots.walk()], before);
    const files = mounted(snapshots, "key", scratch, (root) => [...Deno.readDirSync(root)]);
    assertEquals(files.map(({ name }) => name), ["file"]);
  });
}
