/**
 * aufs through the conformance suite, and what only a kernel with aufs shows of its own. Few kernels have it;
 * where this one lacks it, that is said once.
 */
// @runs on ext4
// @runs long on xfs, btrfs
import { assert, assertEquals } from "@std/assert";
import { statSync } from "node:fs";
import { openDriver } from "../../support/drivers.ts";
import { branchLimit } from "../../../drivers/aufs/branch_limit.ts";
import { isWrittenTo, SYSFS } from "../../../drivers/aufs/mounted.ts";
import { mountAt } from "../../../lib/mount/mountinfo.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import { must, needs, skip, type TempDir } from "../../support/cases.ts";
import { lacking } from "./support.ts";
import { conformance } from "../conformance/mod.ts";
import { apply, fill } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { lines, tarOf } from "../../support/trees.ts";
import { names, read } from "../../support/files.ts";
import { assertFails } from "../../support/errors.ts";

const openAt = (root: string, idMaps: IdMaps = IDENTITY) =>
  openDriver({
    root,
    driver: "aufs",
    options: [],
    idMaps,
    warn: (message) => {
      throw new Error(`a warning: ${message}`);
    },
  });

/** A case on a store of its own, of which nothing may stay mounted. */
function mounting(name: string, body: (dir: TempDir) => void): void {
  needs(lacking, `aufs mounted: ${name}`, () => {
    using dir = storeDir();
    body(dir);
    const driver = openAt(`${dir.path}/root`);
    driver.cleanup();
    for (const { id, mountPoint } of driver.layers()) {
      assertEquals([id, mountPoint], [id, undefined]);
    }
  });
}

if (lacking === undefined) {
  conformance({
    name: "aufs",
    open: openAt,
    maxDepth: (branchLimit() ?? 127) - 1,
    lackingQuota: "layers of aufs have no limits",
  });
  ownCases();
} else {
  skip("aufs: the conformance suite, and mounts", lacking);
}

function ownCases(): void {
  mounting("TestMountedTrueResponse, TestMountWithParent: a layer on another one", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    driver.create("1");
    driver.create("2", { parent: "1" });
    assertEquals(driver.get("2"), `${driver.home}/mnt/2`);
    assertEquals(driver.layer("2").mountPoint, `${driver.home}/mnt/2`);
    const mount = mountAt(`${driver.home}/mnt/2`)!;
    assertEquals([mount.type, mount.source], ["aufs", "none"]);
    const options = mount.superOptions.split(",");
    assert(options.includes("dio"), mount.superOptions);
    const status = new Map(driver.status());
    assertEquals(String(options.includes("dirperm1")), status.get("Dirperm1 Supported"));
    assert(options.some((option) => /^si=[0-9a-f]+$/.test(option)), mount.superOptions);
    driver.put("2");
    assertEquals(driver.layer("2").mountPoint, undefined);
  });

  mounting("TestRemoveMountedDir: what is counted stays, and goes when nobody counts it", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    driver.create("1");
    driver.create("2", { parent: "1" });
    driver.get("2");
    assertFails("in use", () => driver.remove("2"));
    driver.put("2");
    driver.remove("2");
    assertEquals(names(`${driver.home}/mnt`), ["1"]);
  });

  mounting("TestChanges, TestDiffSize: what is written through mounts", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    fill(driver, "1", (root) => Deno.writeTextFileSync(`${root}/old`, "old"));
    fill(driver, "2", (root) => Deno.writeFileSync(`${root}/test.txt`, new Uint8Array(1024)), "1");
    assertEquals(lines(driver.changes("2", undefined)), ["A /test.txt"]);
    assertEquals(driver.diffSize("2", undefined), 1024);
    fill(driver, "3", (root) => {
      Deno.writeTextFileSync(`${root}/test2.txt`, "");
      Deno.removeSync(`${root}/old`);
    }, "2");
    assertEquals(lines(driver.changes("3", undefined)), ["D /old", "A /test2.txt"]);
    assert(names(`${driver.home}/diff/3`).includes(".wh.old"));
  });

  mounting("TestMountMoreThan42Layers: each layer's file, by mount and remounts", (dir) => {
    // A path as long as this makes the kernel take most layers by remounts.
    const driver = openAt(`${dir.path}/root/${"long/".repeat(20)}`);
    const depth = Math.min(127, branchLimit() ?? 127);
    for (let i = 1; i <= depth; i++) {
      driver.create(`${i}`, { parent: i === 1 ? undefined : `${i - 1}` });
      Deno.writeTextFileSync(`${driver.home}/diff/${i}/file-${i}`, `${i}`);
      Deno.writeTextFileSync(`${driver.home}/diff/${i}/same`, `${i}`);
    }
    for (const readOnly of [false, true]) {
      const root = driver.get(`${depth}`, { readOnly });
      for (let i = 1; i <= depth; i++) assertEquals(read(`${root}/file-${i}`), `${i}`);
      assertEquals(read(`${root}/same`), `${depth}`);
      driver.put(`${depth}`);
    }
    driver.cleanup();
  });

  mounting("hard links of a layer below stay links when one of them is written to", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    fill(driver, "1", (root) => {
      Deno.mkdirSync(`${root}/dir`);
      Deno.writeTextFileSync(`${root}/first`, "old");
      Deno.chmodSync(`${root}/first`, 0o4755);
      Deno.linkSync(`${root}/first`, `${root}/dir/second`);
      Deno.symlinkSync("nowhere", `${root}/link`);
      Deno.linkSync(`${root}/link`, `${root}/dir/link`);
    });
    fill(driver, "2", (root) => {
      Deno.chmodSync(`${root}/dir/second`, 0o4711);
      using file = Deno.openSync(`${root}/first`, { append: true });
      file.writeSync(new TextEncoder().encode(" and new"));
      Deno.chmodSync(`${root}/first`, 0o4711);
    }, "1");
    const inode = (path: string) => statSync(path, { bigint: true }).ino;
    const own = `${driver.home}/diff/2`;
    assertEquals(inode(`${own}/first`), inode(`${own}/dir/second`));
    assertEquals(names(`${own}/.wh..wh.plnk`), []);
    const root = driver.get("2");
    assertEquals(read(`${root}/dir/second`), "old and new");
    assertEquals(Deno.statSync(`${root}/dir/second`).mode! & 0o7777, 0o4711);
    assertEquals(inode(`${root}/first`), inode(`${root}/dir/second`));
    driver.put("2");
  });

  mounting("a pseudo-link that nobody touched is made one by the unmount", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    fill(driver, "1", (root) => {
      Deno.writeTextFileSync(`${root}/first`, "old");
      Deno.linkSync(`${root}/first`, `${root}/second`);
    });
    fill(driver, "2", (root) => Deno.writeTextFileSync(`${root}/first`, "new"), "1");
    const root = driver.get("2", { readOnly: true });
    assertEquals([read(`${root}/first`), read(`${root}/second`)], ["new", "new"]);
    driver.put("2");
  });

  mounting(
    "what a mount remembered that was taken down by hand means nothing to the next",
    (dir) => {
      const driver = openAt(`${dir.path}/root`);
      fill(driver, "1", (root) => {
        Deno.writeTextFileSync(`${root}/first`, "old");
        Deno.linkSync(`${root}/first`, `${root}/second`);
        for (let i = 0; i < 100; i++) Deno.writeTextFileSync(`${root}/other${i}`, "");
      });
      driver.create("2", { parent: "1" });
      Deno.writeTextFileSync(`${driver.get("2")}/first`, "new");
      must("umount", `${driver.home}/mnt/2`);
      assertEquals(names(`${driver.home}/diff/2/.wh..wh.plnk`).length, 1);
      driver.get("2");
      driver.put("2");
      assertEquals(names(`${driver.home}/diff/2/.wh..wh.plnk`), []);
      // The link that nobody made real is lost, and no other file was copied up.
      assertEquals(lines(driver.changes("2", undefined)), ["C /first"]);
      assertEquals(names(`${driver.home}/diff/2`).filter((name) => !name.startsWith(".")), [
        "first",
      ]);
    },
  );

  mounting("a mount that can be written to is seen as one, for as long as it is there", (dir) => {
    const driver = openAt(`${dir.path}/root`), branch = `${driver.home}/diff/2`;
    driver.create("1");
    driver.create("2", { parent: "1" });
    const marks = () => names(`${driver.home}/.veneer/unmended`);
    driver.get("2");
    assert(isWrittenTo(branch, SYSFS));
    assertEquals(marks(), ["2"]);
    driver.put("2");
    assert(!isWrittenTo(branch, SYSFS));
    assertEquals(marks(), []);
    driver.get("2", { readOnly: true });
    assert(!isWrittenTo(branch, SYSFS));
    driver.put("2");
  });

  mounting("what tars delete and replace in several layers stays so", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    const trees = [
      { "d/old": "1", "turns/old": "1" },
      { "d/.wh..wh..opq": "", "d/in/older": "2", "turns": "2" },
      { "d/.wh..wh..opq": "", "d/in/new": "3", "turns/new": "3" },
    ];
    for (const [i, files] of trees.entries()) {
      const tree = `${dir.path}/tree${i}`;
      for (const [path, text] of Object.entries(files)) {
        Deno.mkdirSync(`${tree}/${path}/..`, { recursive: true });
        Deno.writeTextFileSync(`${tree}/${path}`, text);
      }
      driver.create(`${i}`, { parent: i === 0 ? undefined : `${i - 1}` });
      apply(driver, `${i}`, tarOf(tree, `${tree}.tar`));
    }
    const root = driver.get("2", { readOnly: true });
    const found = must("find", root, "-mindepth", "1", "-printf", "%P\n").trim().split("\n").sort();
    assertEquals(found, ["d", "d/in", "d/in/new", "turns", "turns/new"]);
    driver.put("2");
  });

  mounting("more layers than aufs mounts: a limit, with nothing left mounted", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    const limit = branchLimit() ?? 127;
    if (limit > 1023) return; // too many to make here
    for (let i = 1; i <= limit; i++) {
      driver.create(`${i}`, { parent: i === 1 ? undefined : `${i - 1}` });
    }
    assertFails("limit exceeded", () => driver.create("more", { parent: `${limit}` }));
    driver.get(`${limit}`, { readOnly: true });
    driver.put(`${limit}`);
    // One that Docker made, as it asks nobody.
    for (const part of ["diff", "mnt"]) Deno.mkdirSync(`${driver.home}/${part}/more`);
    const ids = Array.from({ length: limit }, (_, i) => `${limit - i}\n`);
    Deno.writeTextFileSync(`${driver.home}/layers/more`, ids.join(""));
    assertFails("limit exceeded", () => driver.get("more"));
    driver.remove("more");
  });

  mounting("reading a layer writes nothing to it", (dir) => {
    const driver = openAt(`${dir.path}/root`);
    driver.create("1");
    driver.create("2", { parent: "1" });
    driver.get("2", { readOnly: true });
    driver.put("2");
    assertEquals(names(`${driver.home}/diff/2`), []);
    assertEquals(names(`${driver.home}/diff/1`), []);
  });
}
