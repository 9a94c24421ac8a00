/** Stores in the seed's first form, made here step by step: what is read of them, whole and damaged. */
// @runs on btrfs
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { openSnapshotter } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { must } from "../../support/cases.ts";
import {
  makeSnapshot,
  makeSubvolume,
  snapshotCase,
  type SnapshotHome,
} from "./snapshots_support.ts";
import { runState } from "../../support/store_dir.ts";
import { assertFails } from "../../support/errors.ts";
import { names } from "../../support/files.ts";

const sha224 = (name: string) => createHash("sha224").update(name).digest("hex");

/** The two forms; both begin with `active/`, `snapshots/`, `names/` and `parents/`. */
const FORMS = ["without index", "with index"] as const;
type Form = typeof FORMS[number];

/** A store as the seed makes it, in place of what the backend has made. */
class SeedStore {
  constructor(readonly home: string, readonly form: Form, readonly elsewhere = home) {
    const names = [
      "active",
      "snapshots",
      "parents",
      "names",
      ...(this.#isIndexed ? ["index"] : []),
    ];
    for (const name of names) Deno.mkdirSync(`${home}/${name}`, { recursive: true });
  }

  get #isIndexed(): boolean {
    return this.form === "with index";
  }

  prepare(key: string, parent = "", readOnly = false): string {
    const hash = sha224(key);
    if (parent === "") makeSubvolume(`${this.home}/active`, hash);
    else {
      const source = `snapshots/${sha224(parent)}`;
      makeSnapshot(`${this.home}/${source}`, `${this.home}/active`, hash, { readOnly });
      Deno.symlinkSync(`${this.elsewhere}/${source}`, `${this.home}/parents/${hash}`);
    }
    Deno.writeTextFileSync(`${this.home}/names/${hash}`, key);
    if (this.#isIndexed) {
      Deno.symlinkSync(`${this.elsewhere}/active/${hash}`, `${this.home}/index/${hash}`);
    }
    return `${this.home}/active/${hash}`;
  }

  /** The steps of a commit, of which a process that is killed makes some. */
  commit(name: string, key: string, steps = Infinity): void {
    const from = sha224(key), to = sha224(name);
    const at = (directory: string, hash: string) => `${this.home}/${directory}/${hash}`;
    const exists = (path: string) => must("sh", "-c", 'test -L "$0" && echo yes || :', path) !== "";
    const all = [
      () => makeSnapshot(at("active", from), `${this.home}/snapshots`, to, { readOnly: true }),
      () => Deno.removeSync(at("names", from)),
      () => this.#isIndexed && Deno.removeSync(at("index", from)),
      () => Deno.writeTextFileSync(at("names", to), name),
      () => exists(at("parents", from)) && Deno.renameSync(at("parents", from), at("parents", to)),
      () =>
        this.#isIndexed && Deno.symlinkSync(`${this.elsewhere}/snapshots/${to}`, at("index", to)),
      () => must("btrfs", "-q", "subvolume", "delete", at("active", from)),
    ];
    for (const step of all.slice(0, steps)) step();
  }
}

/** What is imported, a line each: kind, name, parent. */
const imported = (store: SnapshotHome) =>
  store.backend.importable().map(({ kind, name, parent }) => `${kind} ${name} on ${parent || "-"}`);

for (const form of FORMS) {
  snapshotCase(`the seed's store is imported, ${form}`, (store) => {
    assertEquals(store.backend.importable(), []);
    const seed = new SeedStore(store.home, form, "/var/lib/elsewhere");
    const before = Date.now() * 1000 - 5_000_000;
    Deno.writeTextFileSync(`${seed.prepare("key one")}/file`, "one");
    // `z` before `a`: the order is not that of names or of hashes.
    seed.commit("z/base layer", "key one");
    for (const [name, parent] of [["m", "z/base layer"], ["a", "m"], ["top", "a"]]) {
      Deno.writeTextFileSync(`${seed.prepare(`of ${name}`, parent)}/${name}`, name);
      seed.commit(name, `of ${name}`);
    }
    seed.prepare("container", "top");
    seed.prepare("look at it", "m", true);
    seed.prepare("empty\n");

    const snapshots = store.backend.importable();
    assertEquals(
      snapshots.map(({ kind, name, parent, layer }) => [kind, name, parent, layer]).sort(),
      [
        ["active", "container", "top", `active.${sha224("container")}`],
        ["active", "empty\n", "", `active.${sha224("empty\n")}`],
        ["committed", "a", "m", `snapshots.${sha224("a")}`],
        ["committed", "m", "z/base layer", `snapshots.${sha224("m")}`],
        ["committed", "top", "a", `snapshots.${sha224("top")}`],
        ["committed", "z/base layer", "", `snapshots.${sha224("z/base layer")}`],
        ["view", "look at it", "m", `active.${sha224("look at it")}`],
      ],
    );
    const seen = new Set([""]);
    for (const { name, parent, layer, kind, created } of snapshots) {
      assert(seen.has(parent), `${parent} comes before ${name}`);
      seen.add(name);
      assertEquals(layer, store.backend.layerFor(kind, name));
      assert(created > before && created < Date.now() * 1000 + 1000, `${created}`);
    }
    assertEquals(store.warnings, []);
    assertEquals(store.backend.list(), snapshots.map(({ layer }) => layer).sort());

    store.backend.imported();
    store.backend.imported();
    assertEquals(names(store.home), [".veneer", "active", "snapshots"]);
    assertEquals(store.backend.importable(), []);
    assertEquals(Deno.readTextFileSync(`${store.home}/snapshots/${sha224("top")}/file`), "one");
    const child = store.prepare("new", "top", "a", "m", "z/base layer");
    assertEquals(names(child.path), ["a", "file", "m", "top"]);
  });

  snapshotCase(`nothing is lost of a seed that was killed in a commit, ${form}`, (store) => {
    const seed = new SeedStore(store.home, form);
    seed.prepare("of base");
    seed.commit("base", "of base");
    const both = ["committed base on -"];
    const unnamed = (directory: string, name: string) => `${directory}.${sha224(name)}`;
    const a = unnamed("active", "key"), s = unnamed("snapshots", "name");
    const expected: readonly string[][] = [
      ["active key on base"],
      ["active key on base", `committed ${s} on -`],
      [`active ${a} on base`, `committed ${s} on -`],
      [`active ${a} on base`, `committed ${s} on -`],
      [`active ${a} on base`, "committed name on -"],
      [`active ${a} on -`, "committed name on base"],
      [`active ${a} on -`, "committed name on base"],
      ["committed name on base"],
    ];
    for (const [steps, snapshots] of expected.entries()) {
      seed.prepare("key", "base");
      seed.commit("name", "key", steps);
      store.warnings.length = 0;
      assertEquals(imported(store).sort(), [...both, ...snapshots].sort(), `${steps} steps`);
      const lost = snapshots.filter((line) => /(active|snapshots)\./.test(line)).length;
      assertEquals(store.warnings.length, lost, store.warnings.join("\n"));
      for (const warning of store.warnings) {
        assertMatch(warning, /does not hold its name.*is called/);
      }
      for (const layer of [a, s]) store.backend.remove(layer);
      for (const directory of ["names", "parents", "index"]) {
        for (const name of ["key", "name"]) {
          must("rm", "-f", `${store.home}/${directory}/${sha224(name)}`);
        }
      }
    }
  });
}

snapshotCase("records of the seed that do not fit are named, and cost no snapshot", (store) => {
  const seed = new SeedStore(store.home, "without index");
  const { home } = store;
  const warned = (pattern: RegExp, snapshots: string[]) => {
    store.warnings.length = 0;
    assertEquals(imported(store).sort(), snapshots.sort());
    assertEquals(store.warnings.length, 1, store.warnings.join("\n"));
    assertMatch(store.warnings[0], pattern);
  };
  seed.prepare("of base");
  seed.commit("base", "of base");
  seed.prepare("key", "base");
  const key = sha224("key"), base = sha224("base");
  const whole = ["active key on base", "committed base on -"];
  assertEquals(imported(store).sort(), whole);

  Deno.writeTextFileSync(`${home}/names/${sha224("gone")}`, "gone");
  warned(/^names\/\w+ is of a snapshot that does not exist/, whole);
  Deno.removeSync(`${home}/names/${sha224("gone")}`);

  // A file that a power failure emptied; one with another name; one that is no file.
  for (const spoil of ["truncate -s 0", "echo other >", "rm", "rm $0; mkdir"]) {
    must("sh", "-c", `${spoil} $0`, `${home}/names/${key}`);
    warned(/^active\/.* does not hold its name; the snapshot is called active\./, [
      `active active.${key} on base`,
      "committed base on -",
    ]);
    must("sh", "-c", "rm -rf $0; printf key >$0", `${home}/names/${key}`);
  }

  for (const parent of [`${home}/snapshots/${sha224("gone")}`, `${home}/active/x`, "/", ""]) {
    Deno.removeSync(`${home}/parents/${key}`);
    if (parent === "") Deno.writeTextFileSync(`${home}/parents/${key}`, "no link");
    else Deno.symlinkSync(parent, `${home}/parents/${key}`);
    warned(/^parents\/\w+ does not lead to a snapshot; active\/\w+ has no parent now/, [
      "active key on -",
      "committed base on -",
    ]);
  }
  Deno.removeSync(`${home}/parents/${key}`);
  Deno.symlinkSync(`${home}/snapshots/${base}`, `${home}/parents/${key}`);

  // An active snapshot on a committed one of the same name: both have one record.
  seed.prepare("base", "base");
  warned(/^active\/\w+: a committed one has the same name; the snapshot is called active\./, [
    ...whole,
    `active active.${base} on base`,
  ]);
  store.backend.remove(`active.${base}`);
  Deno.removeSync(`${home}/parents/${base}`);
});

snapshotCase("a seed's store that contradicts itself is corrupt, and stays as it is", (store) => {
  const seed = new SeedStore(store.home, "without index");
  const { home } = store;
  for (const name of ["a", "b", "c"]) {
    seed.prepare(`of ${name}`);
    seed.commit(name, `of ${name}`);
  }
  const lead = (from: string, to: string) =>
    Deno.symlinkSync(`${home}/snapshots/${sha224(to)}`, `${home}/parents/${sha224(from)}`);
  lead("a", "b");
  lead("b", "c");
  lead("c", "a");
  const before = must("find", home);
  const error = assertFails("corrupt store", () => store.backend.importable());
  assertMatch(error.message, /parents\/\w{56} makes a snapshot its own ancestor; remove that link/);
  Deno.removeSync(/\S+parents\/\w+/.exec(error.message)![0]);
  assertEquals(imported(store).length, 3);
  assertEquals(must("find", home).trim().split("\n").length, before.trim().split("\n").length - 1);

  Deno.mkdirSync(`${home}/active/${sha224("plain")}`);
  assertMatch(
    assertFails("corrupt store", () => store.backend.importable()).message,
    /is a directory, not a subvolume/,
  );
});

snapshotCase("a store that was the seed's goes on as ours", (store) => {
  const seed = new SeedStore(store.home, "with index");
  Deno.writeTextFileSync(`${seed.prepare("of base")}/file`, "base");
  seed.commit("base", "of base");
  Deno.writeTextFileSync(`${seed.prepare("key", "base")}/file`, "changed");
  Deno.writeTextFileSync(`${seed.prepare("lost", "base")}/file`, "nothing else has it");
  Deno.removeSync(`${store.home}/names/${sha224("lost")}`);
  const lost = `active.${sha224("lost")}`;
  const warnings: string[] = [];
  const open = () =>
    openSnapshotter({
      root: store.root,
      driver: "btrfs",
      options: [],
      idMaps: IDENTITY,
      warn: (message) => void warnings.push(message),
    });
  try {
    {
      const snapshots = open();
      assertEquals(snapshots.active(), [lost, "key"]);
      assertEquals(snapshots.stat("key").parent, "base");
      assertEquals(names(store.home).filter((name) => !name.startsWith("metadata.db")), [
        ".veneer",
        "active",
        "snapshots",
      ]);
      // Its layer is where that of another snapshot would be.
      assertFails("already exists", () => snapshots.prepare("lost", "base"));
      snapshots.commit("name", "key");
      snapshots.commit("found", lost);
      snapshots.prepare("lost", "found");
      snapshots.close();
    }
    assertEquals(warnings.length, 1);
    // As if killed before they went.
    for (const name of ["names", "parents"]) Deno.mkdirSync(`${store.home}/${name}`);
    Deno.writeTextFileSync(`${store.home}/names/${sha224("old")}`, "old");
    const snapshots = open();
    assertEquals([...snapshots.walk()].map(({ name }) => name), ["base", "found", "lost", "name"]);
    snapshots.cleanup();
    assertEquals(names(store.home).filter((name) => /names|parents/.test(name)), []);
    const path = (name: string) => `${store.home}/${snapshots.stat(name).layer.replace(".", "/")}`;
    assertEquals(Deno.readTextFileSync(`${path("lost")}/file`), "nothing else has it");
    assertEquals(Deno.readTextFileSync(`${path("name")}/file`), "changed");
    snapshots.close();
  } finally {
    Deno.removeSync(runState(store.home), { recursive: true });
  }
});
