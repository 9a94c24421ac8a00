/** Records that are none, and such as make layers their own ancestors: the trouble of their layers alone. */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { VeneerError } from "../../../lib/base/errors.ts";
import type {} from "../../../lib/snapshots/snapshotter.ts";
import { must, run } from "../../support/cases.ts";
import { type Case, commands, hostileCase, ids, replace, SUBJECTS } from "./stores.ts";

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
}
