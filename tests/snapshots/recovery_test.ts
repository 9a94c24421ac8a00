/** What a store of snapshots makes of what killed processes, power failures and others have left. */
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import { DatabaseSync } from "node:sqlite";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { openSnapshotter } from "../support/drivers.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { Home } from "../../lib/store/home.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { RunState } from "../../lib/store/run_state.ts";
import type { SnapshotBackend } from "../../lib/snapshots/backend.ts";
import { Database } from "../../lib/snapshots/database.ts";
import { Intents } from "../../lib/snapshots/intents.ts";
import type { Snapshots } from "../../lib/snapshots/snapshots.ts";
import { VERSION } from "../../lib/snapshots/schema.ts";
import { Store } from "../../lib/snapshots/store.ts";
import type { Labels, Snapshotter } from "../../lib/snapshots/snapshotter.ts";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import { refuses } from "../support/errors.ts";

const lacking = lacksFileSystem("overlay");

/** A store, and what a case does to it behind its back. */
class Subject implements Disposable {
  readonly warnings: string[] = [];
  readonly home: Home;
  readonly state: RunState;
  readonly #dir = tempDir();
  #open: Snapshotter[] = [];

  constructor() {
    this.home = Home.open(`${this.#dir.path}/snapshots`, "overlay2", IDENTITY);
    this.state = new RunState(this.home);
  }

  get root(): string {
    return this.#dir.path;
  }

  open(driver = "overlay2", options: string[] = []): Snapshotter {
    const snapshots = openSnapshotter({
      root: this.root,
      driver,
      options,
      idMaps: IDENTITY,
      warn: (message) => this.warnings.push(message),
    });
    this.#open.push(snapshots);
    return snapshots;
  }

  /** Opens it as a service does. */
  serve(later: () => void = () => {}): Snapshots {
    const snapshots = openSnapshotter({
      root: this.root,
      driver: "overlay2",
      options: [],
      idMaps: IDENTITY,
      warn: (message) => this.warnings.push(message),
      foreignUses: "ignore",
      purpose: "serve",
      later,
    });
    this.#open.push(snapshots);
    return snapshots;
  }

  layerOf(key: string): string {
    return this.records((store) => store.require(key).layer);
  }

  get database(): ConfinedPath {
    return this.home.join("metadata.db");
  }

  /** Looks at, or changes, the records as another process would. */
  records<T>(use: (store: Store) => T): T {
    using store = Store.open(this.database);
    return use(store);
  }

  /** Makes a layer's directory, as `prepare` has it before the record. */
  makeLayer(layer: string): void {
    Deno.mkdirSync(this.home.join("snapshots", layer, "fs").text, { recursive: true });
    Deno.writeTextFileSync(this.home.join("snapshots", layer, "fs", "file").text, "content");
  }

  layers(): string[] {
    return [...Deno.readDirSync(this.home.join("snapshots").text)].map(({ name }) => name).sort();
  }

  [Symbol.dispose](): void {
    for (const snapshots of this.#open) snapshots.close();
    this.#dir[Symbol.dispose]();
  }
}

function recoveryCase(name: string, body: (subject: Subject) => void): void {
  needs(lacking, `snapshots: ${name}`, () => {
    using subject = new Subject();
    body(subject);
  });
}

/** One committed snapshot, "base". */
function withBase(subject: Subject): Snapshotter {
  const snapshots = subject.open();
  snapshots.prepare("key", "");
  snapshots.commit("base", "key");
  return snapshots;
}

const names = (snapshots: Snapshotter) => [...snapshots.walk()].map(({ name }) => name);

recoveryCase("dead intents of every kind are finished at open", (subject) => {
  withBase(subject).close();
  const [base] = subject.layers();
  subject.records((store) => {
    store.reserve("nothing", "not begun", "base");
    store.reserve("made", "not recorded", "base");
    store.reserve("staged", "half made", "");
    for (const key of ["gone", "still"]) {
      store.reserve(key, key, "base");
      store.adopt({ layer: key, name: key, kind: "active", parent: "base", labels: new Map() });
      store.remove(store.require(key));
    }
  });
  for (const layer of ["made", "still"]) subject.makeLayer(layer);
  Deno.mkdirSync(`${subject.home.staging("staged")}/fs`, { recursive: true });

  const snapshots = subject.open();
  assertEquals(subject.layers(), [base]);
  assertEquals(subject.home.staged(), []);
  assertEquals(subject.records((store) => store.intents()), []);
  assertEquals(names(snapshots), ["base"]);
  for (const key of ["not begun", "not recorded", "half made"]) snapshots.prepare(key, "base");
  assertEquals(subject.warnings, []);
});

recoveryCase("what a process is at work on is left to it", (subject) => {
  const snapshots = withBase(subject);
  const [base] = subject.layers();
  {
    using _lock = subject.state.lockLayer("made");
    subject.records((store) => store.reserve("made", "key", "base"));
    subject.makeLayer("made");
    const other = subject.open();
    assertEquals(other.cleanup(), []);
    assertEquals(subject.layers(), [base, "made"].sort());
    refuses("already exists", () => other.prepare("key", ""), '"key" is being made by another');
    other.prepare("other", "");
    refuses("already exists", () => other.commit("key", "other"), '"key" is being made by another');
    refuses("failed precondition", () => other.remove("base"), 'has children: "key"');
    assertEquals(other.stat("base").kind, "committed");
    other.remove("other");
  }
  // It died.
  snapshots.remove("base");
  assertEquals(subject.layers(), []);
  assertEquals(subject.records((store) => store.intents()), []);
});

recoveryCase("layers that a killed service was making are deleted at the next open", (subject) => {
  withBase(subject).close();
  const [base] = subject.layers();
  const left = () => [...Deno.readDirSync(subject.state.path("layers").text)].map((at) => at.name);
  for (const layer of ["made", "staged", "alive"]) {
    Deno.writeTextFileSync(subject.state.path(`layers/${layer}`).text, "");
  }
  for (const layer of ["made", "alive"]) subject.makeLayer(layer);
  Deno.mkdirSync(`${subject.home.staging("staged")}/fs`, { recursive: true });
  {
    using _lock = subject.state.lockLayer("alive");
    subject.open();
    assertEquals(subject.layers(), ["alive", base].sort());
    assertEquals([subject.home.staged(), left()], [[], ["alive"]]);
    Deno.writeTextFileSync(subject.state.path("layers/alive").text, "");
  }
  // It died as well, and a service comes next.
  Deno.writeTextFileSync(subject.state.path("layers/alive").text, "");
  let isTold = false;
  const snapshots = subject.serve(() => isTold = true);
  assertEquals([isTold, left()], [true, []]);
  assertEquals(snapshots.deleteRemoved(), "none");
  assertEquals([subject.layers(), subject.warnings], [[base], []]);
  assertEquals(subject.records((store) => store.intents()), []);
});

recoveryCase("what a service cannot make leaves nothing", (subject) => {
  withBase(subject).close();
  const snapshots = subject.serve();
  snapshots.prepare("key", "base");
  const layers = subject.layers(), { layer } = snapshots.stat("key");
  refuses("already exists", () => snapshots.prepare("key", "base"), '"key"');
  refuses("not found", () => snapshots.prepare("new", "missing"), 'parent "missing"');
  refuses("invalid argument", () => snapshots.view("new", "key"), "not committed");
  // A mount of the parent that is not committed would need it.
  assert(Deno.statSync(subject.home.join("snapshots", layer, "work").text).isDirectory);
  Deno.removeSync(subject.home.join("snapshots").text + `/${subject.layerOf("base")}/fs`);
  refuses("corrupt store", () => snapshots.prepare("new", "base"), "is missing");
  assertEquals([subject.layers(), subject.home.staged()], [layers, []]);
  assertEquals([...Deno.readDirSync(subject.state.path("layers").text)], []);
  assertEquals(subject.records((store) => store.intents()), []);
});

recoveryCase("a parent that is removed meanwhile is missing to a layer on it", (subject) => {
  withBase(subject).close();
  subject.records((store) => {
    const removed: string[] = [];
    const backend = { home: subject.home, remove: (layer: string) => void removed.push(layer) };
    const { state } = subject, warn = (message: string) => subject.warnings.push(message);
    const intents = new Intents(
      { store, state, warn, backend: backend as unknown as SnapshotBackend },
    );
    const make = () => {
      store.remove(store.require("base"));
      throw new Error("it is not there");
    };
    const snapshot = { layer: "layer", name: "key", kind: "active", parent: "base" } as const;
    const labels: Labels = new Map();
    refuses("not found", () => intents.makeByLock({ ...snapshot, labels }, make), 'parent "base"');
    assertEquals([removed, store.hasLayer("layer")], [["layer"], false]);
    // If the layer cannot be deleted, that is recorded.
    backend.remove = () => {
      throw new Error("it stays");
    };
    assertThrows(
      () =>
        intents.makeByLock({ ...snapshot, layer: "other", parent: "", labels }, () => {
          throw new Error("it failed");
        }),
      "it failed",
    );
    assertEquals(store.intent("other"), { layer: "other", name: null, parent: null });
    assertEquals(subject.warnings.length, 1);
  });
});

recoveryCase("a name that a dead process reserved is free", (subject) => {
  const snapshots = withBase(subject);
  const reserve = (layer: string, name: string) => {
    subject.records((store) => store.reserve(layer, name, "base"));
    subject.makeLayer(layer);
  };
  reserve("one", "key");
  snapshots.prepare("key", "base");
  reserve("two", "name");
  snapshots.commit("name", "key");
  reserve("three", "view");
  snapshots.view("view", "name");
  assertEquals(names(snapshots), ["base", "name", "view"]);
  assertEquals(subject.layers().length, 3);
  assertEquals(subject.records((store) => store.intents()), []);
});

recoveryCase("a layer that cannot be deleted stands in nobody's way", (subject) => {
  const snapshots = withBase(subject);
  snapshots.prepare("key", "base");
  const { layer } = snapshots.stat("key");
  const path = subject.home.join("snapshots", layer);
  // A mount point that is not a snapshot's mount: the removal is found to be impossible only when it is tried.
  must("mount", "--bind", path.text, path.text);
  try {
    snapshots.remove("key");
    assertEquals(subject.warnings.length, 1);
    assert(subject.warnings[0].includes(layer) && subject.warnings[0].includes("mount point"));
    refuses("not found", () => snapshots.stat("key"), '"key"');
    snapshots.prepare("key", "base");
    assertEquals(snapshots.cleanup(), []);
    subject.open().remove("key");
    snapshots.remove("base");
    assertEquals(subject.layers(), [layer]);
  } finally {
    must("umount", path.text);
  }
  assertEquals(snapshots.cleanup(), [
    `deleted layer ${layer} of a snapshot that was removed or never finished`,
  ]);
  assertEquals(subject.layers(), []);
  assertEquals(snapshots.cleanup(), []);
});

recoveryCase("a snapshot in which something is mounted is not begun to be removed", (subject) => {
  const snapshots = withBase(subject);
  snapshots.prepare("key", "base");
  const inner = `${subject.home.join("snapshots", snapshots.stat("key").layer)}/fs/in`;
  Deno.mkdirSync(inner);
  must("mount", "-t", "tmpfs", "tmpfs", inner);
  refuses("in use", () => snapshots.remove("key"), `at ${inner}; \`umount ${inner}\` first`);
  assertEquals(names(snapshots), ["base", "key"]);
  must("umount", inner);
  snapshots.remove("key");
  assertEquals([names(snapshots), subject.warnings], [["base"], []]);
});

recoveryCase("a cleanup says what it cannot delete, and goes on", (subject) => {
  const snapshots = withBase(subject);
  const failures: string[] = [];
  const cleanup = () => snapshots.cleanup(({ message }) => failures.push(message));
  for (const layer of ["one", "two"]) subject.makeLayer(layer);
  const stuck = subject.home.join("snapshots", "one").text;
  must("mount", "--bind", stuck, stuck);
  const deleted = (layer: string) => `deleted layer ${layer}, which belonged to no snapshot`;
  assertEquals(cleanup(), [deleted("two")]);
  assertEquals([failures.length, subject.warnings], [1, []]);
  assert(failures[0].includes("layer one was not deleted") && failures[0].includes("mount point"));
  must("umount", stuck);
  assertEquals([cleanup(), failures.length], [[deleted("one")], 1]);
});

recoveryCase("a prepare that fails leaves nothing", (subject) => {
  const snapshots = withBase(subject);
  const [base] = subject.layers();
  const path = subject.home.join("snapshots", base);
  Deno.renameSync(path.text, `${subject.root}/aside`);
  refuses("corrupt store", () => snapshots.prepare("key", "base"), base);
  Deno.renameSync(`${subject.root}/aside`, path.text);
  assertEquals(subject.layers(), [base]);
  assertEquals(subject.records((store) => store.intents()), []);
  snapshots.prepare("key", "base");
});

recoveryCase("layers that nobody has are deleted by a cleanup, not before", (subject) => {
  const snapshots = withBase(subject);
  const [base] = subject.layers();
  for (const layer of ["orphan", "worked"]) subject.makeLayer(layer);
  Deno.mkdirSync(subject.home.staging("staged").text);
  subject.open();
  assertEquals(subject.layers(), [base, "orphan", "worked"].sort());
  {
    using _lock = subject.state.lockLayer("worked");
    assertEquals(snapshots.cleanup(), [
      "deleted layer orphan, which belonged to no snapshot",
      "deleted layer staged, which belonged to no snapshot",
    ]);
  }
  assertEquals(subject.layers(), [base, "worked"].sort());
  assertEquals(snapshots.cleanup(), ["deleted layer worked, which belonged to no snapshot"]);
  assertEquals(names(snapshots), ["base"]);
});

recoveryCase("a database of another form or another program is left alone", (subject) => {
  withBase(subject).close();
  const change = (sql: string) => {
    using database = new Database(subject.database);
    database.prepare(sql).run();
  };
  change(`PRAGMA user_version = ${VERSION + 1}`);
  refuses(
    "incompatible",
    () => subject.open(),
    `has form ${VERSION + 1}, this program knows up to ${VERSION}`,
  );
  change(`PRAGMA user_version = ${VERSION}`);
  assertEquals(names(subject.open()), ["base"]);
  change("PRAGMA application_id = 252006674"); // Fossil's
  refuses("incompatible", () => subject.open(), "another program's");

  Deno.removeSync(subject.database.text);
  change("CREATE TABLE snapshots (name)");
  refuses("incompatible", () => subject.open(), "another program's");
});

recoveryCase("layers without their database are not made a new one for", (subject) => {
  withBase(subject).close();
  const layers = subject.layers();
  for (
    const wreck of [
      () => Deno.removeSync(subject.database.text),
      () => Deno.truncateSync(subject.database.text),
    ]
  ) {
    wreck();
    refuses(
      "corrupt store",
      () => subject.open(),
      `${subject.home.path} has layers but no metadata.db`,
    );
    assertEquals(subject.layers(), layers);
  }
});

recoveryCase("a process killed before the first record is as if it had never been", (subject) => {
  Deno.createSync(subject.database.text).close();
  const snapshots = subject.open();
  snapshots.prepare("key", "");
  assertEquals(names(snapshots), ["key"]);
});

recoveryCase("a damaged database is told in one line", (subject) => {
  withBase(subject).close();
  const whole = Deno.readFileSync(subject.database.text);
  const damage = (content: Uint8Array) => Deno.writeFileSync(subject.database.text, content);

  damage(new TextEncoder().encode("no database at all ".repeat(1000)));
  refuses("corrupt store", () => subject.open(), `${subject.database}: file is not a database`);

  const half = whole.slice();
  half.fill(0xff, 4096);
  damage(half);
  refuses(
    "corrupt store",
    () => names(subject.open()),
    `${subject.database}: database disk image is malformed`,
  );

  damage(whole);
  assertEquals(names(subject.open()), ["base"]);
});

recoveryCase("the database is for root alone", (subject) => {
  withBase(subject);
  for (const file of ["", "-wal", "-shm"]) {
    assertEquals(Deno.statSync(subject.database + file).mode! & 0o7777, 0o600, file);
  }
});

recoveryCase("a store is closed once, and not used after", (subject) => {
  const snapshots = withBase(subject);
  const walk = snapshots.walk()[Symbol.iterator]();
  assertEquals(walk.next().value?.name, "base");
  snapshots.close();
  snapshots.close();
  const uses = [
    () => snapshots.prepare("key", ""),
    () => snapshots.stat("base"),
    () => snapshots.walk(),
    () => snapshots.remove("base"),
    () => snapshots.active(),
    () => snapshots.cleanup(),
  ];
  for (const use of uses) refuses("failed precondition", use, "was closed; open it again");
  assertEquals([snapshots.name, snapshots.home], ["overlay2", subject.home.path]);
});

recoveryCase("options are the store's, as for layers", (subject) => {
  const synced = subject.open("overlay2", ["sync=filesystem", "workers=0"]);
  synced.prepare("key", "");
  synced.commit("base", "key");
  assertEquals(names(synced), ["base"]);
  const refused = (option: string, includes: string) =>
    refuses("invalid argument", () => subject.open("overlay2", [option]), includes);
  refused("sync=always", "it must be none, layer or filesystem");
  refused("snc=none", "did you mean sync?");
  refused("dm.fs=xfs", "overlay2 has no option dm.fs");
});

recoveryCase("auto finds the driver whose database is there", (subject) => {
  withBase(subject).close();
  assertEquals(subject.open("auto").name, "overlay2");
  const other = `${subject.root}/snapshots/btrfs`;
  Deno.mkdirSync(other);
  assertEquals(subject.open("auto").name, "overlay2");
  Deno.createSync(`${other}/metadata.db`).close();
  refuses(
    "incompatible",
    () => subject.open("auto"),
    "has stores of overlay2 and btrfs",
  );
  assertEquals(names(subject.open("overlay2")), ["base"]);
  refuses("usage", () => subject.open("overlay"), "did you mean overlay2?");
});

/** A file system of a few blocks, so that it is soon full. */
recoveryCase("a full disk fails what it fails as a whole", (subject) => {
  const small = `${subject.root}/small`;
  Deno.mkdirSync(small);
  must("mount", "-t", "tmpfs", "-o", "size=4M,mode=0755", "tmpfs", small);
  const open = () =>
    openSnapshotter({
      root: small,
      driver: "overlay2",
      options: [],
      idMaps: IDENTITY,
      warn: () => {},
    });
  let snapshots = open();
  snapshots.prepare("base-key", "");
  snapshots.commit("base", "base-key");
  snapshots.close();

  const filler = Deno.openSync(`${small}/filler`, { create: true, write: true });
  assertThrows(() => {
    for (;;) filler.writeSync(new Uint8Array(4096));
  });
  filler.close();
  snapshots = open();
  assertEquals(names(snapshots), ["base"]);
  assertEquals(snapshots.usage("base"), { bytes: 0, inodes: 0 });
  Deno.truncateSync(`${small}/filler`, 2 << 20);
  const labels = new Map([["big", "x".repeat(4000)]]);
  let made = 0;
  const fill = () => {
    for (; made < 1000; made++) snapshots.prepare(`key ${made}`, "base", { labels });
  };
  const error = assertThrows(fill, VeneerError);
  assertEquals(error.code, "limit exceeded", error.message);
  assert(made > 0);
  const expected = ["base", ...Array.from({ length: made }, (_, i) => `key ${i}`).sort()];
  assertEquals(names(snapshots), expected);
  snapshots.close();

  const again = open();
  assertEquals(names(again), expected);
  Deno.removeSync(`${small}/filler`);
  assertEquals(again.cleanup().filter((line) => !line.includes("never finished")), []);
  assertEquals([...Deno.readDirSync(`${again.home}/snapshots`)].length, made + 1);
  for (const name of expected.toReversed()) again.remove(name);
  assertEquals([...Deno.readDirSync(`${again.home}/snapshots`)], []);
  again.close();
});

needs(
  lacking,
  "snapshots: parents that form a circle end no command in a loop, and can be removed",
  () => {
    using subject = new Subject();
    const former = subject.open();
    for (const [name, parent] of [["base", ""], ["two", "base"], ["alone", ""], ["other", ""]]) {
      former.prepare(`${name}-key`, parent);
      former.commit(name, `${name}-key`);
    }
    former.prepare("bad", "two");
    former.close();
    const database = new DatabaseSync(subject.database.text);
    const id = (name: string) => `(SELECT id FROM snapshots WHERE name = '${name}')`;
    database.exec(`UPDATE snapshots SET parent = ${id("two")} WHERE name = 'base';
    UPDATE snapshots SET parent = id WHERE name = 'alone'`);
    database.close();

    const snapshots = subject.open();
    const corrupt = (call: () => unknown) => {
      const error = assertThrows(call, VeneerError);
      assertEquals(error.code, "corrupt store", error.message);
    };
    corrupt(() => snapshots.mounts("bad"));
    corrupt(() => snapshots.prepare("new", "two"));
    corrupt(() => snapshots.view("new", "alone"));
    assertEquals(Array.from(snapshots.walk()).length, 5);
    snapshots.prepare("new", "other");
    for (const name of ["new", "other"]) snapshots.remove(name);
    assertThrows(() => snapshots.remove("two"), VeneerError, `has children: "bad"`);
    for (const name of ["bad", "two", "base", "alone"]) snapshots.remove(name);
    assertEquals(Array.from(snapshots.walk()), []);
    assertEquals(subject.layers(), []);
  },
);
