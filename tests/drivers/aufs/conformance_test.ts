/**
 * aufs through the conformance suite, and what only a kernel with aufs shows of its own. Few kernels have it;
 * where this one lacks it, that is said once.
 */
// @runs on ext4, xfs, btrfs
import { assert, assertEquals } from "@std/assert";
import { statSync } from "node:fs";
import { openDriver } from "../../support/drivers.ts";
import { branchLimit } from "../../../drivers/aufs/branch_limit.ts";
import { mountAt } from "../../../lib/mount/mountinfo.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import { needs, skip, type TempDir } from "../../support/cases.ts";
import { lacking } from "./support.ts";
import { conformance } from "../conformance/mod.ts";
import { fill } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { lines } from "../../support/trees.ts";
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
