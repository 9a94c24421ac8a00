/** Stores of snapshots in which something was planted: no command is led out of them. */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { dirname } from "@std/path";
import { chownSync } from "node:fs";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { must, run } from "../../support/cases.ts";
import { refuses } from "../../support/errors.ts";
import { hostileCase, NOBODY, SUBJECTS } from "./stores.ts";

for (const subject of SUBJECTS) {
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
