/** The cases of the field's own snapshotter suite that are about what is in a snapshot, under their names. */
import { assertEquals, assertThrows } from "@std/assert";
import { lchownSync } from "node:fs";
import {
  checkChain,
  commitChanged,
  mkdir,
  mounted,
  mountedByTriples,
  removeTree,
  write,
} from "./mounting.ts";
import type { SnapshotterSuite } from "./suite.ts";

export function content(suite: SnapshotterSuite): void {
  suite.case("LayerFileupdate", ({ snapshots, scratch }) => {
    // Again and again, also across a second's end: file systems may tell times in whole seconds.
    for (let round = 0; round < 3; round++) {
      checkChain(snapshots, scratch, [
        (root) => {
          mkdir(`${root}/etc`, 0o700);
          write(`${root}/etc/hosts`, "here 10.0.0.1");
          write(`${root}/etc/profile`, "umask 022");
        },
        (root) => {
          write(`${root}/etc/hosts`, "here 10.0.0.2"); // As long as it was.
          write(`${root}/etc/profile`, "umask 022", 0o666); // Another mode alone.
          mkdir(`${root}/home`, 0o700);
          write(`${root}/home/.profile`, "umask 077");
        },
      ], `round-${round}`);
    }
  });

  suite.case("RemoveDirectoryInLowerLayer", ({ snapshots, scratch }) => {
    checkChain(snapshots, scratch, [
      (root) => {
        mkdir(`${root}/lib`, 0o700);
        write(`${root}/lib/goes`, "");
      },
      (root) => {
        removeTree(`${root}/lib`);
        mkdir(`${root}/lib`, 0o700);
        write(`${root}/lib/stays`, "");
      },
      (root) => write(`${root}/lib/comes`, ""),
    ]);
  });

  suite.case("Chown", ({ snapshots, scratch }) => {
    const below = ["opt", "opt/a", "opt/a/b", "opt/a/b/file"];
    checkChain(snapshots, scratch, [
      (root) => {
        for (const path of below.slice(0, 3)) mkdir(`${root}/${path}`, 0o700);
        write(`${root}/${below[3]}`, "content");
      },
      (root) => {
        for (const path of below) lchownSync(`${root}/${path}`, 1, 2);
      },
    ]);
  });

  suite.case("DirectoryPermissionOnCommit", ({ snapshots, scratch }) => {
    const own = (root: string, ids: number, ...names: string[]) => {
      for (const name of names) lchownSync(`${root}/${name}`, ids, ids);
    };
    checkChain(snapshots, scratch, [
      (root) => {
        for (const name of ["d1", "d2", "d3", "d4", "d5"]) mkdir(`${root}/${name}`, 0o700);
        for (const name of ["d4", "d5"]) write(`${root}/${name}/file`, "content");
        own(root, 1, "d1", "d2", "d3", "d5", "d5/file");
      },
      (root) => {
        own(root, 0, "d2");
        removeTree(`${root}/d3`);
        own(root, 1, "d4", "d4/file");
      },
      (root) => {
        mkdir(`${root}/d3`, 0o700);
        removeTree(`${root}/d5`);
        mkdir(`${root}/d5`, 0o750);
        own(root, 1, "d3", "d5");
      },
    ]);
  });

  suite.case("DeletedFilesInChildSnapshot", ({ snapshots, scratch }) => {
    checkChain(snapshots, scratch, [
      (root) => {
        write(`${root}/kept`, "kept", 0o777);
        write(`${root}/gone`, "gone", 0o777);
      },
      (root) => Deno.removeSync(`${root}/gone`),
      () => {},
    ]);
  });

  suite.case("MoveFileFromLowerLayer", ({ snapshots, scratch }) => {
    checkChain(snapshots, scratch, [
      (root) => {
        for (const n of [1, 2]) {
          mkdir(`${root}/d${n}`, 0o700);
          write(`${root}/d${n}/f${n}`, `file ${n}`);
        }
      },
      (root) => {
        mkdir(`${root}/d3`, 0o700);
        write(`${root}/d3/f1`, "file 1");
        removeTree(`${root}/d1`);
        Deno.linkSync(`${root}/d2/f2`, `${root}/d3/f2`);
        Deno.removeSync(`${root}/d2/f2`);
      },
    ]);
  });

  suite.case("Rename", ({ snapshots, scratch }) => {
    checkChain(snapshots, scratch, [
      (root) => {
        mkdir(`${root}/before`, 0o700);
        mkdir(`${root}/files`, 0o700);
        write(`${root}/files/1`, "written over");
        write(`${root}/files/2`, "renamed");
      },
      (root) => {
        if (suite.subject.renamesDirectories) Deno.renameSync(`${root}/before`, `${root}/after`);
        write(`${root}/files/new`, "new content");
        Deno.renameSync(`${root}/files/new`, `${root}/files/1`);
        Deno.renameSync(`${root}/files/2`, `${root}/files/3`);
      },
    ]);
  });

  suite.case("ViewReadonly", ({ snapshots, scratch }) => {
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, "as it was"),
    });
    commitChanged(snapshots, scratch, { name: "child", parent: "base" });
    for (const parent of ["base", "child"]) {
      const key = `view of ${parent}`;
      const triples = snapshots.view(key, parent);
      const tryToWrite = (root: string) => {
        assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""));
        assertThrows(() => Deno.writeTextFileSync(`${root}/file`, "changed"));
        assertThrows(() => Deno.removeSync(`${root}/file`));
        assertThrows(() => Deno.chmodSync(root, 0o700));
        assertEquals(Deno.readTextFileSync(`${root}/file`), "as it was");
      };
      mounted(snapshots, key, scratch, tryToWrite);
      mountedByTriples(triples, scratch, tryToWrite);
      snapshots.remove(key);
    }
  });

  suite.case("a view without a parent is empty and read-only", ({ snapshots, scratch }) => {
    const triples = snapshots.view("nothing", "");
    const look = (root: string) => {
      assertEquals([...Deno.readDirSync(root)], []);
      assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""));
    };
    mounted(snapshots, "nothing", scratch, look);
    mountedByTriples(triples, scratch, look);
  });

  suite.case("RootPermission", ({ snapshots, scratch }) => {
    const root = (key: string) =>
      mounted(snapshots, key, scratch, (root) => {
        const { mode, uid, gid } = Deno.lstatSync(root);
        return [mode! & 0o7777, uid, gid];
      });
    snapshots.prepare("key", "");
    assertEquals(root("key"), [0o755, 0, 0]);
    mounted(snapshots, "key", scratch, (root) => {
      Deno.chmodSync(root, 0o1711);
      lchownSync(root, 3, 4);
    });
    snapshots.commit("name", "key");
    snapshots.prepare("key", "name");
    snapshots.view("view", "name");
    for (const key of ["key", "view"]) assertEquals(root(key), [0o1711, 3, 4], key);
  });

  suite.case("what is written to one is in no other", ({ snapshots, scratch }) => {
    const read = (key: string) =>
      mounted(snapshots, key, scratch, (root) => Deno.readTextFileSync(`${root}/file`));
    commitChanged(snapshots, scratch, {
      name: "base",
      change: (root) => write(`${root}/file`, "base"),
    });
    for (const key of ["one", "other"]) snapshots.prepare(key, "base");
    snapshots.view("view", "base");
    mounted(snapshots, "one", scratch, (root) => write(`${root}/file`, "one"));
    for (const key of ["other", "view"]) assertEquals(read(key), "base", key);
    snapshots.commit("committed one", "one");
    snapshots.prepare("on it", "committed one");
    assertEquals(["on it", "other", "view"].map(read), ["one", "base", "base"]);
  });
}
