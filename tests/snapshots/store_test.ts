/** The records of snapshots: the cases that the field's own metadata stores have, under their names, and ours. */
import { confinedAt } from "../support/confined_at.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type ErrorCode, VeneerError } from "../../lib/base/errors.ts";
import { microsecondsNow } from "../../ffi/clock.ts";
import { Database } from "../../lib/snapshots/database.ts";
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import { VERSION } from "../../lib/snapshots/schema.ts";
import type { NewSnapshot } from "../../lib/snapshots/records.ts";
import { Store } from "../../lib/snapshots/store.ts";
import type { Labels, SnapshotKind } from "../../lib/snapshots/snapshotter.ts";
import { tempDir } from "../support/cases.ts";
import { refuses } from "../support/errors.ts";

/** A case with a store of its own. */
function storeCase(name: string, body: (store: Store, path: ConfinedPath) => void): void {
  Deno.test(`snapshot store: ${name}`, () => {
    using dir = tempDir();
    const path = confinedAt(dir.path, "metadata.db");
    using store = Store.open(path);
    body(store, path);
  });
}

const NONE: Labels = new Map();

/** Records a snapshot whose layer is named after its key; returns the layers below it. */
function create(
  store: Store,
  kind: SnapshotKind,
  key: string,
  parent = "",
  labels = NONE,
): readonly string[] {
  const layer = `layer-${key}`;
  store.reserve(layer, key, parent);
  const { parents } = store.chainOn(layer, kind, parent);
  store.adopt({ layer, name: key, kind, parent, labels });
  return parents;
}

/** Commits; returns the layer. */
function commit(store: Store, key: string, name: string, parent?: string): string {
  store.commit(store.require(key), { name, labels: NONE, parent });
  return store.require(name).layer;
}

/** Two committed snapshots, three active ones and two views, on none, one or both. */
function populate(store: Store): void {
  create(store, "active", "committed-tmp-1");
  commit(store, "committed-tmp-1", "committed-1");
  create(store, "active", "committed-tmp-2", "committed-1");
  commit(store, "committed-tmp-2", "committed-2");
  create(store, "active", "active-1");
  create(store, "active", "active-2", "committed-1");
  create(store, "active", "active-3", "committed-2");
  create(store, "view", "view-1");
  create(store, "view", "view-2", "committed-2");
}

storeCase(
  "its version is another one after any change, of its own or of another opener's",
  (store, path) => {
    populate(store);
    const seen = new Set([store.version]);
    const isNew = () => seen.size < seen.add(store.version).size;
    assert(!isNew());
    assertEquals([...store.walk()].length, 7);
    assert(!isNew(), "a walk is no change");
    store.relabel("active-1", () => new Map([["a", "b"]]));
    assert(isNew());
    {
      using other = Store.open(path);
      assert(!isNew());
      create(other, "active", "active-4");
      assert(isNew());
    }
    assert(!isNew());
    // Two walks at a time take two connections, of which one is kept.
    for (const _info of store.walk()) for (const _inner of store.walk());
    store.remove(store.require("active-4"));
    assert(isNew());
  },
);

storeCase(
  "times are exact to the microsecond, and a change is never before what it changes",
  (store) => {
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const before = microsecondsNow();
      create(store, "active", `key-${i}`);
      const { created } = store.info(`key-${i}`);
      const { updated } = store.relabel(`key-${i}`, () => new Map([["a", "b"]]));
      assert(before <= created && created < updated, `${before} <= ${created} < ${updated}`);
      assert(updated <= microsecondsNow() + 1);
      times.push(created, updated);
    }
    assert(times.some((time) => time % 1000 !== 0), "they are whole milliseconds");
  },
);

/** What `populate` makes: name, kind, parent. */
const POPULATED = [
  ["active-1", "active", ""],
  ["active-2", "active", "committed-1"],
  ["active-3", "active", "committed-2"],
  ["committed-1", "committed", ""],
  ["committed-2", "committed", "committed-1"],
  ["view-1", "view", ""],
  ["view-2", "view", "committed-2"],
] as const;

const layersBelow = (store: Store, key: string) => store.chain(store.require(key)).parents;

storeCase("GetInfo", (store) => {
  populate(store);
  for (const [name, kind, parent] of POPULATED) {
    const info = store.info(name);
    assertEquals([info.name, info.kind, info.parent, info.labels], [name, kind, parent, NONE]);
    for (const time of [info.created, info.updated]) {
      assert(Math.abs(time / 1000 - Date.now()) < 600_000);
    }
  }
});

storeCase("GetInfoNotExist", (store) => {
  populate(store);
  refuses("not found", () => store.info("active-not-exist"));
});

storeCase("GetInfoEmptyDB", (store) => refuses("not found", () => store.info("active-not-exist")));

storeCase("Walk", (store) => {
  populate(store);
  const found = [...store.walk()].map(({ name, kind, parent }) => [name, kind, parent]);
  assertEquals(found, POPULATED.map((snapshot) => [...snapshot]));
});

storeCase("GetSnapshot", (store) => {
  create(store, "active", "committed-tmp-1");
  const layer = commit(store, "committed-tmp-1", "committed-1");
  const made = [
    ["active-1", "active", create(store, "active", "active-1")],
    ["active-2", "active", create(store, "active", "active-2", "committed-1")],
    ["view-1", "view", create(store, "view", "view-1")],
    ["view-2", "view", create(store, "view", "view-2", "committed-1")],
  ] as const;
  assertEquals(made.map(([, , below]) => below), [[], [layer], [], [layer]]);
  for (const [key, kind, below] of made) {
    const snapshot = store.require(key);
    assertEquals([snapshot.layer, snapshot.kind], [`layer-${key}`, kind]);
    assertEquals(layersBelow(store, key), below);
  }
});

storeCase("GetSnapshotNotExist", (store) => {
  populate(store);
  assertEquals(store.find("active-not-exist"), undefined);
  refuses("not found", () => store.require("active-not-exist"));
});

storeCase("GetSnapshotCommitted", (store) => {
  populate(store);
  assertEquals(store.require("committed-1").kind, "committed");
  assertEquals(store.active(), ["active-1", "active-2", "active-3", "view-1", "view-2"]);
});

storeCase("GetSnapshotEmptyDB", (store) => {
  refuses("not found", () => store.require("active-not-exist"));
  assertEquals(store.active(), []);
});

storeCase("CreateActive", (store) => {
  create(store, "active", "active-1");
  assertEquals(store.require("active-1").kind, "active");
  create(store, "view", "view-1");
  assertEquals(store.require("view-1").kind, "view");
  assertEquals(commit(store, "active-1", "committed-1"), "layer-active-1");
  assertEquals(create(store, "active", "active-3", "committed-1"), ["layer-active-1"]);
  assertEquals(create(store, "view", "view-2", "committed-1"), ["layer-active-1"]);
  assertEquals(store.require("view-2").kind, "view");
});

storeCase("CreateActiveNotExist", (store) => {
  refuses("not found", () => create(store, "active", "active-1", "does-not-exist"), "parent");
  assertEquals(store.intents(), []);
});

storeCase("CreateActiveExist", (store) => {
  populate(store);
  refuses("already exists", () => create(store, "active", "active-1"));
  refuses("already exists", () => create(store, "active", "committed-1"));
  refuses("already exists", () => create(store, "view", "active-1"));
  assertEquals(store.intents(), []);
});

storeCase(
  "a snapshot that is recorded without a reservation is checked by one query, twice",
  (store) => {
    populate(store);
    store.reserve("layer-half", "half", "committed-1");
    const like = (change: Partial<NewSnapshot>): NewSnapshot => {
      return {
        layer: "new",
        name: "new",
        kind: "active",
        parent: "committed-2",
        labels: NONE,
        ...change,
      };
    };
    const faults: readonly [Partial<NewSnapshot>, ErrorCode, string][] = [
      [{ name: "active-1" }, "already exists", 'snapshot "active-1" exists'],
      [{ name: "committed-1" }, "already exists", "exists"],
      [{ name: "half" }, "already exists", "is being made"],
      [{ layer: "layer-active-1" }, "already exists", "is another snapshot's"],
      [{ layer: "layer-half" }, "already exists", "is another snapshot's"],
      [{ parent: "nothing" }, "not found", 'parent "nothing"'],
      [{ parent: "active-1" }, "invalid argument", "not committed"],
      [{ parent: "view-1" }, "invalid argument", "not committed"],
    ];
    const before = [...store.walk()];
    for (const [change, code, text] of faults) {
      for (const parent of [change.parent ?? "committed-2", change.parent ?? ""]) {
        const snapshot = like({ ...change, parent });
        refuses(code, () => store.chainOfNew(snapshot), text);
        refuses(code, () => store.add(snapshot), text);
      }
    }
    assertEquals([...store.walk()], before);
    const labels = new Map([["a", "b"]]), snapshot = like({ labels });
    assertEquals(store.chainOfNew(snapshot), {
      layer: "new",
      kind: "active",
      parents: ["layer-committed-tmp-2", "layer-committed-tmp-1"],
    });
    store.add(snapshot);
    const { created, updated, ...info } = store.info("new");
    assertEquals(info, {
      name: "new",
      kind: "active",
      parent: "committed-2",
      layer: "new",
      labels,
    });
    assertEquals(updated, created);
  },
);

storeCase("CreateActiveFromActive", (store) => {
  populate(store);
  refuses("invalid argument", () => create(store, "active", "active-new", "active-1"));
  refuses("invalid argument", () => create(store, "active", "active-new", "view-1"));
});

storeCase("Commit", (store) => {
  create(store, "active", "active-1");
  assertEquals(commit(store, "active-1", "committed-1"), "layer-active-1");
  refuses("not found", () => store.require("active-1"));
  assertEquals(store.require("committed-1").kind, "committed");
});

storeCase("CommitNotExist", (store) => {
  populate(store);
  const gone = store.require("active-1");
  store.remove(gone);
  refuses("not found", () => store.commit(gone, { name: "committed-3", labels: NONE }));
});

storeCase("CommitExist", (store) => {
  populate(store);
  refuses("already exists", () => commit(store, "active-1", "committed-1"));
  refuses("already exists", () => commit(store, "active-1", "active-2"));
  refuses("already exists", () => commit(store, "active-1", "active-1"));
  assertEquals(store.require("active-1").kind, "active");
});

storeCase("CommitCommitted", (store) => {
  populate(store);
  refuses("failed precondition", () => commit(store, "committed-1", "committed-3"));
});

storeCase("CommitViewFails", (store) => {
  populate(store);
  refuses("failed precondition", () => commit(store, "view-1", "committed-3"));
});

storeCase("Remove", (store) => {
  create(store, "active", "active-1");
  commit(store, "active-1", "committed-1");
  create(store, "view", "view-1", "committed-1");
  create(store, "view", "view-2", "committed-1");
  refuses("not found", () => store.require("active-1"));
  for (const name of ["view-2", "view-1", "committed-1"]) {
    const snapshot = store.require(name);
    store.remove(snapshot);
    refuses("not found", () => store.require(name));
    assertEquals(store.intent(snapshot.layer), { layer: snapshot.layer, name: null, parent: null });
  }
});

storeCase("RemoveNotExist", (store) => refuses("not found", () => store.require("does-not-exist")));

storeCase("RemoveWithChildren", (store) => {
  populate(store);
  for (let time = 0; time < 2; time++) {
    refuses(
      "failed precondition",
      () => store.remove(store.require("committed-2")),
      'has children: "active-3", "view-2"; remove them first',
    );
  }
  assertEquals(store.require("committed-2").kind, "committed");
});

storeCase("ParentIDs", (store) => {
  populate(store);
  const [first, second] = ["layer-committed-tmp-1", "layer-committed-tmp-2"];
  assertEquals(layersBelow(store, "committed-1"), []);
  assertEquals(layersBelow(store, "committed-2"), [first]);
  assertEquals(layersBelow(store, "active-1"), []);
  assertEquals(layersBelow(store, "active-2"), [first]);
  assertEquals(layersBelow(store, "active-3"), [second, first]);
  assertEquals(layersBelow(store, "view-1"), []);
  assertEquals(layersBelow(store, "view-2"), [second, first]);
  assertEquals(create(store, "view", "on-2", "committed-2"), [second, first]);
});

storeCase("Rebase", (store) => {
  populate(store);
  const rebases: readonly (readonly [from: string, to: string, code?: ErrorCode])[] = [
    ["", "committed-1"],
    ["committed-1", "committed-1"],
    ["", "nonexist", "not found"],
    ["committed-1", ""],
    ["", "active-1", "failed precondition"],
    ["committed-1", "committed-2", "invalid argument"],
  ];
  for (const [i, [from, to, code]] of rebases.entries()) {
    const [key, name, view] = [`rebase-active-${i}`, `rebase-committed-${i}`, `rebase-view-${i}`];
    create(store, "active", key, from);
    if (code !== undefined) {
      refuses(code, () => commit(store, key, name, to));
      assertEquals(store.rules.parentName(store.require(key)), from);
      continue;
    }
    const layer = commit(store, key, name, to);
    assertEquals(create(store, "view", view, name), [layer, "layer-committed-tmp-1"]);
    refuses("failed precondition", () => store.remove(store.require(name)));
    assertEquals(store.info(name).parent, to || from);
  }
});

storeCase("what is being made has its name and its parent to itself", (store) => {
  populate(store);
  store.reserve("half", "new", "committed-1");
  assertEquals(store.reservedFor("new"), "half");
  assertEquals(store.reservedOn(store.require("committed-1")), ["half"]);
  refuses("already exists", () => store.reserve("other", "new", ""), "is being made");
  refuses("already exists", () => commit(store, "active-1", "new"), "is being made");
  for (const child of ["committed-2", "active-2", "active-3", "view-2"]) {
    if (child !== "committed-2") store.remove(store.require(child));
  }
  store.remove(store.require("committed-2"));
  refuses(
    "failed precondition",
    () => store.remove(store.require("committed-1")),
    'children: "new"',
  );
  assertEquals(store.relinquish("half"), true);
  assertEquals(store.intent("half"), { layer: "half", name: null, parent: null });
  store.remove(store.require("committed-1"));
  store.reserve("other", "new", "");
  store.forget("half");
  assertEquals([store.relinquish("half"), store.hasLayer("half"), store.hasLayer("other")], [
    false,
    false,
    true,
  ]);
});

storeCase("a commit to another layer leaves the active one to be deleted", (store) => {
  populate(store);
  store.reserve("frozen", "name", "");
  store.commit(store.require("active-2"), { name: "name", labels: NONE, layer: "frozen" });
  assertEquals(store.require("name").layer, "frozen");
  assertEquals(store.intents(), ["layer-active-2"]);
  assertEquals(layersBelow(store, "name"), ["layer-committed-tmp-1"]);
});

storeCase("labels are those given last, times only go forward", (store) => {
  const labels = (...pairs: [string, string][]): Labels => new Map(pairs);
  create(
    store,
    "active",
    "key",
    "",
    labels(["b", "1"], ["a", "2"], ["10", "x"], ["__proto__", "y"]),
  );
  const before = store.info("key");
  assertEquals([...before.labels.keys()].sort(), ["10", "__proto__", "a", "b"]);
  assertEquals(before.updated, before.created);
  const after = store.relabel("key", (old) => {
    assertEquals(old, before.labels);
    return labels(["c", "3"]);
  });
  assertEquals(after, { ...before, labels: labels(["c", "3"]), updated: after.updated });
  assert(after.updated > before.updated);
  store.commit(store.require("key"), { name: "name", labels: labels(["d", "4"]) });
  const { created, updated, labels: last } = store.info("name");
  assertEquals(last, labels(["d", "4"]));
  assert(created > after.updated && updated === created);
  refuses("not found", () => store.relabel("key", (old) => old));
});

storeCase("what a committed snapshot adds is kept", (store) => {
  populate(store);
  store.keepUsage("layer-active-1", { bytes: 1, inodes: 1 });
  store.keepUsage("layer-committed-tmp-1", { bytes: 2 ** 50, inodes: 3 });
  assertEquals(store.require("active-1").bytes, null);
  const { bytes, inodes } = store.require("committed-1");
  assertEquals([bytes, inodes], [2 ** 50, 3]);
});

storeCase("names are texts of any letters, and sorted by their bytes", (store) => {
  const names = ["z", "a b", "a/b", "é", "\u{1f40b}", "\uffee", "Z", "'; DROP TABLE snapshots; --"];
  for (const name of names) create(store, "active", name, "", new Map([[name, name]]));
  const encoded = (text: string) => Array.from(new TextEncoder().encode(text));
  const sorted = names.toSorted((a, b) => {
    const [x, y] = [encoded(a), encoded(b)];
    const at = x.findIndex((byte, i) => byte !== y[i]);
    return at < 0 ? x.length - y.length : x[at] - (y[at] ?? -1);
  });
  assertEquals([...store.walk()].map(({ name }) => name), sorted);
  for (const { name, labels } of store.walk()) assertEquals(labels, new Map([[name, name]]));
});

storeCase("a walk sees the store as it was at its first snapshot", (store, path) => {
  populate(store);
  const names: string[] = [];
  for (const { name } of store.walk()) {
    if (names.length === 0) {
      // Both on the connection that walks and on another.
      create(store, "active", "zz-new");
      store.remove(store.require("view-2"));
      using other = Store.open(path);
      commit(other, "active-1", "aa-committed");
    }
    names.push(name);
    assert([...store.walk()].some(({ name }) => name === "zz-new"));
  }
  assertEquals(names, POPULATED.map(([name]) => name));
  assertEquals([...store.walk()].map(({ name }) => name).at(0), "aa-committed");
});

storeCase("a transaction that fails changes nothing", (store) => {
  populate(store);
  refuses("failed", () => create(store, "active", "new", "", new Map([["key", null as never]])));
  assertEquals(store.find("new"), undefined);
  // The intent is still there: it comes from the transaction before.
  assertEquals(store.intents(), ["layer-new"]);
});

storeCase("tables refuse what would break the rules", (store, path) => {
  populate(store);
  using database = new Database(path);
  const refused = [
    "DELETE FROM snapshots WHERE name = 'committed-1'",
    "INSERT INTO intents VALUES ('layer', 'name', 999)",
    "INSERT INTO intents VALUES (NULL, 'name', NULL)",
    "UPDATE snapshots SET kind = 'other'",
    "UPDATE snapshots SET name = 'same'",
    "UPDATE snapshots SET layer = 'same'",
    "INSERT INTO labels VALUES (999, 'key', 'value')",
  ];
  for (const sql of refused) refuses("failed", () => database.prepare(sql).run(), "constraint");
});

Deno.test("snapshot store: the log has its room from one opening to the next, and is never read twice", () => {
  using dir = tempDir();
  const path = confinedAt(dir.path, "metadata.db");
  const stat = (suffix: string) => Deno.statSync(path.text + suffix);
  const opened = (use: (store: Store) => void) => {
    using store = Store.open(path);
    use(store);
  };
  opened((store) => create(store, "active", "first"));
  assertThrows(() => stat("-wal"), Deno.errors.NotFound);
  const { ino, size } = stat("-reserve");
  for (const name of ["second", "third"]) {
    opened((store) => {
      assertEquals([stat("-wal").ino, stat("-wal").nlink], [ino, 2]);
      // Nothing of the log that this was before is taken for a record.
      assertEquals(Deno.readFileSync(`${path}-wal`).subarray(0, 32), new Uint8Array(32));
      create(store, "active", name);
      assert(Deno.readFileSync(`${path}-wal`).subarray(0, 32).some((byte) => byte !== 0));
    });
    assertEquals([stat("-reserve").ino, stat("-reserve").size >= size], [ino, true]);
  }
  opened((store) => {
    assertEquals(Array.from(store.walk(), ({ name }) => name), ["first", "second", "third"]);
  });
  // A third name is somebody else's.
  opened(() => {
    Deno.linkSync(`${path}-wal`, `${path}-other`);
    const error = assertThrows(() => Store.open(path), VeneerError, "has another name, too");
    assertEquals(error.code, "corrupt store");
  });
});

Deno.test("snapshot store: a database of the form before images gets their tables", () => {
  using dir = tempDir();
  const path = confinedAt(dir.path, "metadata.db");
  {
    using store = Store.open(path);
    store.reserve("layer", "kept", "");
    store.adopt({ layer: "layer", name: "kept", kind: "committed", parent: "", labels: new Map() });
    for (const table of ["image_names", "images"]) {
      store.database.prepare(`DROP TABLE ${table}`).run();
    }
    store.database.prepare("PRAGMA user_version = 1").run();
  }
  using store = Store.open(path);
  assertEquals(store.database.pragma("user_version"), VERSION);
  assertEquals(store.database.prepare("SELECT * FROM images").all(), []);
  assertEquals(Array.from(store.walk(), ({ name }) => name), ["kept"]);
});

Deno.test("snapshot store: one process has a database alone, and may open it twice", () => {
  using dir = tempDir();
  const path = confinedAt(dir.path, "metadata.db");
  Store.open(path)[Symbol.dispose]();
  {
    using alone = new Database(path, { access: "alone" });
    assertEquals(alone.pragma("user_version"), VERSION);
    using second = new Database(path, { access: "alone", readOnly: true });
    assertEquals(second.pragma("user_version"), VERSION);
    assertThrows(() => Deno.statSync(`${path}-shm`), Deno.errors.NotFound);
    const script = `import { DatabaseSync } from "node:sqlite";
      new DatabaseSync(Deno.args[0], { timeout: 0 }).prepare("PRAGMA user_version").get();`;
    const args = ["eval", script, path.text];
    const { stderr } = new Deno.Command(Deno.execPath(), { args }).outputSync();
    assert(new TextDecoder().decode(stderr).includes("database is locked"));
  }
  using shared = new Database(path);
  assertEquals(shared.pragma("user_version"), VERSION);
});
