/**
 * Stores that somebody else could write to, or once did. There are two walls: a store whose directories others
 * could write to is not opened, and in one that is opened nothing that was planted leads out of it or stops more
 * than the layer it is in. Each is tried without the other: the first on stores without anything planted, the
 * second on stores of root's.
 */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals, assertThrows } from "@std/assert";
import { dirname } from "@std/path";
import { chownSync } from "node:fs";
import { VeneerError } from "../../../lib/base/errors.ts";
import { IdMap } from "../../../lib/base/id_maps.ts";
import type {} from "../../../lib/snapshots/snapshotter.ts";
import { must, run } from "../../support/cases.ts";
import { refuses } from "../../support/errors.ts";
import { commands, hostileCase, ids, NOBODY, replace, SUBJECTS } from "./stores.ts";

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
    const { remedy } = assertThrows(() => store.open(), VeneerError);
    assertEquals(remedy, { kind: "name id maps" });
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
