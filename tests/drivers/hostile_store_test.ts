/**
 * Stores that somebody else could write to, or once did. There are two walls: a store whose directories others
 * could write to is not opened, and in one that is opened nothing that was planted leads out of it or stops more
 * than the layer it is in. Each is tried without the other: the first on stores without anything planted, the
 * second on stores of root's.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { dirname } from "@std/path";
import { chownSync } from "node:fs";
import { openDriver } from "../../drivers/registry.ts";
import { openSnapshotter } from "../../drivers/snapshotters.ts";
import { close, O_RDONLY, O_RDWR, open as openFile } from "../../ffi/files.ts";
import { type ErrorCode, VeneerError } from "../../lib/errors.ts";
import type { GraphDriver } from "../../lib/graph_driver.ts";
import { IDENTITY, IdMap, type IdMaps } from "../../lib/id_maps.ts";
import type { Snapshotter } from "../../lib/snapshotter.ts";
import { lacksFileSystem, must, needs, run, TEST_FS } from "../support.ts";
import { Victim } from "../victim.ts";
import { storeDir } from "./store_dir.ts";

const NOBODY = 65534;

interface Subject {
  readonly name: string;
  readonly lacking: string | undefined;
  /** What the driver needs at a root before a store is opened. */
  readonly prepare?: (root: string) => void;
}

const onBtrfs = TEST_FS.startsWith("btrfs");
const SUBJECTS: readonly Subject[] = [
  { name: "overlay2", lacking: lacksFileSystem("overlay") },
  {
    name: "aufs",
    lacking: onBtrfs ? "aufs does not stand on btrfs" : undefined,
    // On a kernel without aufs a store must be there.
    prepare: (root) => {
      Deno.mkdirSync(`${root}/aufs/layers`, { recursive: true });
      Deno.mkdirSync(`${root}/snapshots/aufs`, { recursive: true });
      Deno.writeTextFileSync(`${root}/snapshots/aufs/metadata.db`, "");
    },
  },
  { name: "btrfs", lacking: onBtrfs ? undefined : "it needs btrfs" },
];

/** One case's store: opened anew for each command, as the program does. */
class Case {
  readonly warnings: string[] = [];

  constructor(readonly subject: Subject, readonly path: string) {
    Deno.mkdirSync(this.root, { mode: 0o711 });
    subject.prepare?.(this.root);
  }

  get root(): string {
    return `${this.path}/root`;
  }

  get home(): string {
    return `${this.root}/${this.subject.name}`;
  }

  #options(idMaps: IdMaps) {
    const options = this.subject.name === "overlay2" ? ["overlay2.allow_btrfs=true"] : [];
    const warn = (message: string) => void this.warnings.push(message);
    return { root: this.root, driver: this.subject.name, options, idMaps, warn };
  }

  open(idMaps = IDENTITY): GraphDriver {
    return openDriver(this.#options(idMaps));
  }

  snapshots(): Snapshotter {
    return openSnapshotter(this.#options(IDENTITY));
  }

  /** Applies a tar of one file. */
  apply(id: string): void {
    const tar = `${this.path}/one.tar`;
    Deno.mkdirSync(`${this.path}/tree`, { recursive: true });
    Deno.writeTextFileSync(`${this.path}/tree/file`, "applied");
    must("tar", "-C", `${this.path}/tree`, "-cf", tar, "file");
    const fd = openFile(tar, O_RDONLY);
    try {
      this.open().applyDiff(id, undefined, fd);
    } finally {
      close(fd);
    }
  }
}

function hostileCase(
  subject: Subject,
  name: string,
  body: (store: Case, victim: Victim) => void,
): void {
  needs(subject.lacking, `hostile store, ${subject.name}: ${name}`, () => {
    using dir = storeDir();
    const store = new Case(subject, dir.path);
    const victim = new Victim(`${dir.path}/victim`);
    body(store, victim);
    victim.assertUntouched();
  });
}

function refuses(code: ErrorCode, use: () => unknown): string {
  const error = assertThrows(use, VeneerError);
  assertEquals(error.code, code, error.message);
  return error.message;
}

/** Something put in the place of another thing. */
function replace(path: string, plant: (path: string) => void): void {
  Deno.removeSync(path, { recursive: true });
  plant(path);
}

const ids = (driver: GraphDriver) => driver.layers().map(({ id }) => id);

/** How a directory can be open to others, and what the refusal says of it. */
const OPEN_TO_OTHERS: [string, (path: string) => void, RegExp][] = [
  ["is nobody's", (path) => chownSync(path, NOBODY, 0), /belongs to user 65534.*`chown 0:0 /],
  ["everyone writes to", (path) => Deno.chmodSync(path, 0o707), /by everyone.*`chmod go-w /],
  [
    "is sticky, and everyone's",
    (path) => Deno.chmodSync(path, 0o1777),
    /by everyone.*`chmod go-w /,
  ],
  ["a group writes to", (path) => {
    chownSync(path, 0, NOBODY);
    Deno.chmodSync(path, 0o770);
  }, /by group 65534.*`chmod g-w /],
  ["an access list opens", (path) => must("setfacl", "-m", "u:65534:rwx", path), /`setfacl -b /],
];

for (const subject of SUBJECTS) {
  const { name } = subject;

  hostileCase(
    subject,
    "a directory that others could write to is refused, with what mends it",
    (store) => {
      store.open().create("a");
      store.snapshots().close();
      const stores: [string, () => unknown][] = [
        [store.root, () => store.open()],
        [store.home, () => store.open()],
        [`${store.home}/.veneer`, () => store.open()],
        [`${store.root}/snapshots`, () => store.snapshots().close()],
        [`${store.root}/snapshots/${name}`, () => store.snapshots().close()],
      ];
      const hasAcl = run("sh", "-c", "command -v setfacl").success;
      for (const [path, open] of stores) {
        for (const [what, change, said] of OPEN_TO_OTHERS) {
          if (what.includes("access list") && !hasAcl) continue;
          change(path);
          const message = refuses("incompatible", open);
          assert(message.startsWith(`${path} `) && said.test(message), `${what}: ${message}`);
          must("sh", "-c", /`([^`]+)`/.exec(message)![1]);
          open();
          Deno.chmodSync(path, 0o711);
          chownSync(path, 0, 0);
        }
      }
    },
  );

  hostileCase(subject, "the root of the id maps may own a store, and nobody else", (store) => {
    const map = new IdMap([{ container: 0, host: 100_000, size: 65_536 }]);
    const idMaps = { uids: map, gids: map };
    store.open(idMaps).create("a");
    for (const path of [store.root, store.home, `${store.home}/.veneer`]) {
      chownSync(path, 100_000, 100_000);
      Deno.chmodSync(path, 0o770);
    }
    assertEquals(ids(store.open(idMaps)), ["a"]);
    assert(refuses("incompatible", () => store.open()).includes("--uidmap"));
    chownSync(store.home, 100_001, 100_000);
    refuses("incompatible", () => store.open(idMaps));
  });

  hostileCase(subject, "links between the root and a home are not followed", (store, victim) => {
    store.open().create("a");
    store.snapshots().close();
    for (const path of [store.home, `${store.home}/.veneer`]) {
      Deno.renameSync(path, `${store.path}/aside`);
      for (const target of [victim.path, `${victim.path}/none`, `${store.path}/aside`]) {
        Deno.symlinkSync(target, path);
        const { code, message } = assertThrows(() => store.open(), VeneerError);
        // On a kernel without aufs its store is not there, for all that can be seen.
        const isMissing = name === "aufs" && code === "not supported";
        assert(isMissing || message.startsWith(`${path} is not a directory`), message);
        Deno.removeSync(path);
      }
      Deno.renameSync(`${store.path}/aside`, path);
    }
    victim.assertUntouched();
    replace(`${store.root}/snapshots`, (path) => Deno.symlinkSync(victim.path, path));
    assertThrows(() => store.snapshots(), VeneerError);
    victim.assertUntouched();
    Deno.removeSync(`${store.root}/snapshots`);
    assertEquals(ids(store.open()), ["a"]);
  });

  hostileCase(
    subject,
    "what stands in the place of Veneer's own directories is put aside",
    (store, victim) => {
      store.open().create("a");
      for (const part of ["staging", "incomplete", "parents"]) {
        const path = `${store.home}/.veneer/${part}`;
        const plants: ((path: string) => void)[] = [
          (path) => Deno.symlinkSync(victim.path, path),
          (path) => Deno.writeTextFileSync(path, "a file"),
          (path) => must("mkfifo", path),
        ];
        for (const plant of plants) {
          replace(path, plant);
          store.warnings.length = 0;
          assertEquals(ids(store.open()), ["a"]);
          assertEquals(store.warnings.length, 1, store.warnings.join("\n"));
          assert(store.warnings[0].startsWith(`${path} was not a directory`), store.warnings[0]);
          assert(Deno.lstatSync(path).isDirectory);
        }
      }
      const aside = [...Deno.readDirSync(`${store.home}/.veneer`)]
        .filter(({ name }) => name.includes(".damaged-"));
      assertEquals(aside.length, 9);
      store.open().create("b", { parent: "a" });
    },
  );

  hostileCase(subject, "links in the layout lead no command out of the store", (store, victim) => {
    const layouts: Readonly<Record<string, readonly string[]>> = {
      overlay2: ["bad/diff", "bad/work", "bad/merged", "bad/link", "bad/lower", "bad", "l"],
      aufs: ["diff/bad", "mnt/bad", "layers/bad", "diff", "layers", "mnt"],
      btrfs: [".veneer/parents/bad", "subvolumes", "quotas"],
    };
    for (const part of layouts[name]) {
      for (const target of [victim.path, `${victim.path}/diff`, `${victim.path}/none`]) {
        store.open().create("base");
        store.open().create("bad", { parent: "base" });
        store.open().create("good", { parent: "base" });
        const path = `${store.home}/${part}`;
        const there = run("test", "-e", path).success;
        if (there) Deno.renameSync(path, `${store.path}/aside`);
        Deno.symlinkSync(target, path);
        for (const [what, command] of commands(store, "bad")) {
          try {
            command();
          } catch (error) {
            // A store of which the layout itself is a link is refused as a whole.
            assert(error instanceof Error, what);
          }
          victim.assertUntouched(`${part} -> ${target}: ${what}`);
        }
        if (run("test", "-L", path).success) Deno.removeSync(path);
        subject.prepare?.(store.root);
        if (there && !run("test", "-e", dirname(path)).success) {
          must("rm", "-rf", `${store.path}/aside`);
        } else if (there) Deno.renameSync(`${store.path}/aside`, path);
        const driver = store.open();
        for (const id of ["bad", "good", "base"]) if (driver.exists(id)) driver.remove(id);
        must("rm", "-rf", `${store.path}/aside`);
        driver.cleanup();
        assertEquals(ids(store.open()), [], part);
      }
    }
  });
}

/** What can stand in a record's place. */
const NO_RECORDS: [string, (path: string) => void][] = [
  ["a fifo", (path) => must("mkfifo", path)],
  ["a directory", (path) => Deno.mkdirSync(`${path}/in it`, { recursive: true })],
  ["a device", (path) => must("mknod", path, "c", "1", "5")],
  ["a dangling link", (path) => Deno.symlinkSync("/none", path)],
  ["a link", (path) => Deno.symlinkSync("/etc/passwd", path)],
  ["2 MiB", (path) => Deno.writeFileSync(path, new Uint8Array(2 << 20).fill(65))],
  ["5,000 letters", (path) => Deno.writeTextFileSync(path, "A".repeat(5000))],
];

/** A layer's records by driver, below the home. */
const RECORDS: Readonly<Record<string, readonly string[]>> = {
  overlay2: ["bad/link", "bad/lower"],
  aufs: ["layers/bad"],
  btrfs: [".veneer/parents/bad", "quotas/bad"],
};

for (const subject of SUBJECTS) {
  for (const record of RECORDS[subject.name]) {
    hostileCase(subject, `${record} that is no record is that layer's trouble alone`, (store) => {
      for (const [what, plant] of NO_RECORDS) {
        store.open().create("base");
        for (const id of ["bad", "good"]) store.open().create(id, { parent: "base" });
        store.open().create("upper", { parent: "good" });
        const path = `${store.home}/${record}`;
        if (run("test", "-e", path).success) Deno.removeSync(path);
        plant(path);
        for (const [command, use] of commands(store, "bad").filter(([name]) => name !== "rm")) {
          try {
            use();
          } catch (error) {
            assert(error instanceof VeneerError, `${what}: ${command}: ${error}`);
            // A layer of unknown parent wants one named.
            if (error.code === "corrupt store") {
              assert(error.message.includes(path), `${what}: ${command}: ${error.message}`);
            }
          }
        }
        assertEquals(ids(store.open()), ["bad", "base", "good", "upper"], what);
        const driver = store.open();
        driver.create("new", { parent: "upper" });
        store.apply("new");
        assertEquals(driver.diffSize("new", undefined), "applied".length);
        store.open().remove("bad");
        for (const id of ["new", "upper", "good", "base"]) store.open().remove(id);
        assertEquals(ids(store.open()), [], what);
        assertEquals([...Deno.readDirSync(`${store.home}/.veneer/staging`)], [], what);
        if (subject.name === "overlay2") assertEquals([...Deno.readDirSync(`${store.home}/l`)], []);
      }
    });
  }
}

/** Layers that are their own ancestors: how the records of three layers, each on the one before, make them so. */
const CIRCLES: Readonly<Record<string, Readonly<Record<string, (store: Case) => void>>>> = {
  overlay2: {
    "its own parent": ({ home }) => relink(home, "b", "c"),
    "a circle of two by its links": ({ home }) => relink(home, "a", "c"),
    "a circle of two by their records": ({ home }) => {
      const link = (id: string) => Deno.readTextFileSync(`${home}/${id}/link`);
      Deno.writeTextFileSync(`${home}/b/lower`, `l/${link("c")}`);
      Deno.writeTextFileSync(`${home}/c/lower`, `l/${link("b")}`);
    },
  },
  aufs: {
    "its own parent": ({ home }) => Deno.writeTextFileSync(`${home}/layers/c`, "c\n"),
    "a circle of two": ({ home }) => {
      Deno.writeTextFileSync(`${home}/layers/b`, "c\n");
      Deno.writeTextFileSync(`${home}/layers/c`, "b\n");
    },
  },
  btrfs: {
    "its own parent": ({ home }) => Deno.writeTextFileSync(`${home}/.veneer/parents/c`, "c"),
  },
};

/** Makes the link of one layer lead to another. */
function relink(home: string, from: string, to: string): void {
  const name = Deno.readTextFileSync(`${home}/${from}/link`);
  replace(`${home}/l/${name}`, (path) => Deno.symlinkSync(`../${to}/diff`, path));
}

for (const subject of SUBJECTS) {
  for (const [what, damage] of Object.entries(CIRCLES[subject.name])) {
    hostileCase(subject, `a layer that is ${what} is named, and is removed`, (store) => {
      store.open().create("a");
      store.open().create("b", { parent: "a" });
      store.open().create("c", { parent: "b" });
      store.open().create("good", { parent: "a" });
      damage(store);
      store.warnings.length = 0;
      assertEquals(ids(store.open()), ["a", "b", "c", "good"]);
      assert(store.warnings.length > 0 && store.warnings.length < 3, store.warnings.join("\n"));
      for (const warning of store.warnings) assert(/layer (b|c|good) /.test(warning), warning);
      // In some order: each goes at the latest when those that name it are gone.
      const left = new Set(["c", "b", "good", "a"]);
      for (let round = 0; round < 4 && left.size > 0; round++) {
        for (const id of left) {
          try {
            store.open().remove(id);
            left.delete(id);
          } catch (error) {
            assert(error instanceof VeneerError && error.code === "in use", String(error));
          }
        }
      }
      assertEquals([...left], []);
      assertEquals(ids(store.open()), []);
    });
  }

  hostileCase(
    subject,
    "a database that SQLite would be led astray by is not opened",
    (store, victim) => {
      store.snapshots().close();
      const home = `${store.root}/snapshots/${subject.name}`;
      const plants: [string, (path: string) => void, RegExp][] = [
        [
          "a dangling link",
          (path) => Deno.symlinkSync(`${victim.path}/made`, path),
          /regular file/,
        ],
        ["a link", (path) => Deno.symlinkSync(`${victim.path}/precious`, path), /regular file/],
        ["a hard link", (path) => Deno.linkSync(`${store.path}/precious`, path), /another name/],
        ["a fifo", (path) => must("mkfifo", path), /regular file/],
        ["a directory", (path) => Deno.mkdirSync(path), /regular file/],
        ["nobody's", (path) => {
          Deno.writeTextFileSync(path, "");
          chownSync(path, NOBODY, NOBODY);
        }, /belongs to user 65534/],
      ];
      Deno.writeTextFileSync(`${store.path}/precious`, "precious");
      for (const suffix of ["", "-wal", "-shm", "-journal"]) {
        const path = `${home}/metadata.db${suffix}`;
        const before = suffix === "" ? Deno.readFileSync(path) : undefined;
        for (const [what, plant, said] of plants) {
          if (run("test", "-e", path).success) Deno.removeSync(path, { recursive: true });
          plant(path);
          const message = refuses("corrupt store", () => store.snapshots());
          assert(message.startsWith(`${path} `) && said.test(message), `${what}: ${message}`);
          assertEquals(Deno.readTextFileSync(`${store.path}/precious`), "precious");
          Deno.removeSync(path, { recursive: true });
        }
        if (before !== undefined) Deno.writeFileSync(path, before);
        store.snapshots().close();
      }
    },
  );

  hostileCase(
    subject,
    "links in the layout of snapshots lead no command out of the store",
    (store, victim) => {
      const parts = subject.name === "btrfs"
        ? ["active", "snapshots", ".veneer/qgroups"]
        : ["snapshots", "LAYER", "LAYER/fs", "LAYER/work"];
      const isJoined = subject.name === "overlay2";
      for (const part of parts) {
        for (const target of [victim.path, `${victim.path}/none`]) {
          const snapshots = store.snapshots();
          snapshots.prepare("base-key", "");
          snapshots.commit("base", "base-key");
          if (isJoined) snapshots.prepare("key", "base");
          else snapshots.prepare("key", "");
          const { layer } = snapshots.stat("key");
          snapshots.close();
          const path = `${snapshots.home}/${part.replace("LAYER", `snapshots/${layer}`)}`;
          const there = run("test", "-e", path).success;
          if (there) Deno.renameSync(path, `${store.path}/aside`);
          if (run("test", "-d", dirname(path)).success) Deno.symlinkSync(target, path);
          const commands: [string, (opened: Snapshotter) => unknown][] = [
            ["mounts", (opened) => opened.mounts("key")],
            ["usage", (opened) => opened.usage("key")],
            ["view", (opened) => opened.view("look", "base")],
            ["rm view", (opened) => opened.remove("look")],
            ["cleanup", (opened) => opened.cleanup()],
            ["rm", (opened) => opened.remove("key")],
          ];
          for (const [what, command] of commands) {
            let opened: Snapshotter | undefined;
            try {
              command(opened = store.snapshots());
              const leadsAway = !part.endsWith("work") && !part.endsWith("qgroups");
              assert(what !== "mounts" || !leadsAway, `${part} -> ${target}: mounts succeeded`);
            } catch (error) {
              assert(error instanceof Error && error.name !== "AssertionError", `${error}`);
            }
            opened?.close();
            victim.assertUntouched(`${part} -> ${target}: ${what}`);
          }
          if (run("test", "-L", path).success) Deno.removeSync(path);
          if (
            there && run("test", "-d", dirname(path)).success && !run("test", "-e", path).success
          ) {
            Deno.renameSync(`${store.path}/aside`, path);
          }
          must("rm", "-rf", `${store.path}/aside`);
          const again = store.snapshots();
          for (const key of ["look", "key", "base"]) if (has(again, key)) again.remove(key);
          again.close();
        }
      }
    },
  );
}

function has(snapshots: Snapshotter, key: string): boolean {
  return [...snapshots.walk()].some(({ name }) => name === key);
}

/** What can be done with a layer. */
function commands(store: Case, id: string): [string, () => unknown][] {
  const null_ = () => openFile("/dev/null", O_RDWR);
  return [
    ["ls", () => store.open().layers()],
    ["inspect", () => store.open().getMetadata(id)],
    ["changes", () => [...store.open().changes(id, undefined)]],
    ["diff", () => {
      const fd = null_();
      try {
        store.open().diff(id, undefined, fd);
      } finally {
        close(fd);
      }
    }],
    ["diffsize", () => store.open().diffSize(id, "")],
    ["mount", () => {
      const driver = store.open();
      driver.get(id);
      driver.put(id);
    }],
    ["mount read-only", () => {
      const driver = store.open();
      driver.get(id, { readOnly: true });
      driver.put(id);
    }],
    ["mounts", () => store.open().mounts(id)],
    ["apply", () => store.apply(id)],
    ["create", () => store.open().create("child", { parent: id })],
    ["rm child", () => store.open().remove("child")],
    ["cleanup", () => store.open().cleanup()],
    ["rm", () => store.open().remove(id)],
  ];
}
