/** The btrfs driver where a file system of its own is needed: full, or with simple quotas. */
// @runs on btrfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { quotaStatus } from "../../../ffi/btrfs_quota.ts";
import { commit, features } from "../../../ffi/btrfs_volume.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { mountImage } from "../../runner/images.ts";
import { sleep } from "../../../lib/base/sleep.ts";
import { type TempDir, tempDir } from "../../support/cases.ts";
import { must, needs } from "../../support/cases.ts";
import { lacking, TestStore } from "./support.ts";
import { apply, fill, treeOf } from "../../support/layers.ts";
import { lines, tarOf } from "../../support/trees.ts";
import { assertFails } from "../../support/errors.ts";

const MIB = 1 << 20;

/** Registers a case with a btrfs of its own. */
function imageCase(
  name: string,
  mebibytes: number,
  body: (store: TestStore, mountPoint: string, dir: TempDir) => void,
): void {
  needs(lacking, `btrfs: ${name}`, () => {
    using dir = tempDir();
    using image = mountImage("btrfs", dir.path, mebibytes * MIB);
    body(new TestStore(`${image.mountPoint}/root`), image.mountPoint, dir);
  });
}

const onVolume = <T>(path: string, use: (volume: number) => T): T =>
  withFd(open(path, O_RDONLY | O_DIRECTORY), use);

/** Writes until nothing more fits; returns the error. */
function fillUp(path: string): Error {
  return assertThrows(() => {
    for (let i = 0;; i++) Deno.writeFileSync(`${path}/${i}`, new Uint8Array(4 * MIB).fill(i + 1));
  }, Error);
}

for (const quotas of [false, true]) {
  const name = quotas ? " with quotas" : "";
  imageCase(`a full file system lets layers go${name}`, 512, (store, mountPoint, dir) => {
    const driver = store.driver();
    driver.create("base");
    if (quotas) {
      driver.createReadWrite("layer", {
        parent: "base",
        storageOptions: new Map([["size", "1G"]]),
      });
    } else driver.create("layer", { parent: "base" });
    driver.create("target", { parent: "base" });
    fill(driver, "small", (root) => Deno.writeTextFileSync(`${root}/file`, ""), "base");
    assertMatch(fillUp(driver.get("layer")).message, /No space left/);
    driver.put("layer");

    // A tar that does not fit leaves the layer incomplete, and not the disk fuller than it was.
    Deno.mkdirSync(`${dir.path}/tree`);
    Deno.writeFileSync(`${dir.path}/tree/file`, new Uint8Array(16 * MIB));
    const tar = tarOf(`${dir.path}/tree`, `${dir.path}/tree.tar`);
    const error = assertFails("limit exceeded", () => apply(driver, "target", tar));
    assertMatch(error.message, /incomplete/);
    assert(driver.layer("target").incomplete);
    assertMatch(
      assertThrows(() => driver.create("more", { parent: "base" }), Error).message,
      /ENOSPC/,
    );
    assertEquals(driver.layers().map(({ id }) => id), ["base", "layer", "small", "target"]);
    driver.remove("small");

    driver.remove("layer");
    driver.cleanup();
    // The kernel's cleaner gives the space back, a busy machine's later.
    const layers = () => must("btrfs", "subvolume", "list", "-d", mountPoint);
    onVolume(mountPoint, (volume) => {
      for (let i = 0; i < 3 || i < 600 && layers() !== ""; i++) {
        commit(volume);
        sleep(100);
      }
    });
    apply(driver, "target", tar);
    assertEquals([...treeOf(driver, "target").keys()], ["/file"]);
    for (const id of ["target", "base"]) driver.remove(id);
    driver.cleanup();
    assertEquals([...Deno.readDirSync(`${driver.home}/.veneer/qgroups`)], []);
    assertEquals(must("btrfs", "subvolume", "list", mountPoint), "");
  });
}

imageCase("simple quotas, where they are asked for", 512, (store, mountPoint) => {
  const driver = store.driver(["btrfs.quota=Simple"]);
  assertEquals(store.warnings, [], "nothing is turned on yet");
  fill(
    driver,
    "base",
    (root) => Deno.writeFileSync(`${root}/base`, new Uint8Array(8 * MIB).fill(1)),
  );
  const create = () =>
    driver.createReadWrite("limited", {
      parent: "base",
      storageOptions: new Map([["size", "8M"]]),
    });
  if (!onVolume(mountPoint, hasSimpleQuotas)) {
    assertMatch(assertFails("not supported", create).message, /Linux 6\.7/);
    return;
  }
  create();
  assertMatch(
    store.warnings.join(),
    /do not count inherited data.*kernels before 6\.7 then refuse/,
  );
  assertEquals(onVolume(mountPoint, quotaStatus).mode, "simple");
  assert(onVolume(mountPoint, features).includes("simple_quota"));
  const root = driver.get("limited");
  for (let i = 0; i < 6; i++) Deno.writeFileSync(`${root}/${i}`, new Uint8Array(MIB).fill(i));
  assertMatch(fillUp(root).message, /quota exceeded/i);
  driver.put("limited");
  fill(driver, "child", (root) => Deno.writeTextFileSync(`${root}/new`, ""), "base");
  assertEquals(lines(driver.changes("child", undefined)), ["A /new"]);

  // Another who wants full ones gets what there is, and is told.
  const other = new TestStore(`${mountPoint}/other`);
  other.driver().createReadWrite("x", { storageOptions: new Map([["size", "8M"]]) });
  assertMatch(other.warnings.join(), /simple quotas are on here already/);
  other.driver().remove("x");

  for (const id of ["child", "limited", "base"]) driver.remove(id);
  onVolume(mountPoint, commit);
  driver.cleanup();
  assertEquals(onVolume(mountPoint, quotaStatus).mode, "off");
  assertEquals([...Deno.readDirSync(`${driver.home}/.veneer/qgroups`)], []);
});

/** Linux 6.7; by the feature, as versions say little of what a distribution's kernel has. */
function hasSimpleQuotas(): boolean {
  return [...Deno.readDirSync("/sys/fs/btrfs/features")].some(({ name }) =>
    name === "simple_quota"
  );
}
