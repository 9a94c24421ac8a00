/** Sizes of btrfs layers: limits that hold, quotas that go on and off with their use, qgroups that go. */
// @runs on btrfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  disableQuota,
  qgroups,
  type QuotaMode,
  quotaStatus,
  tryEnableQuota,
} from "../../../ffi/btrfs_quota.ts";
import { commit } from "../../../ffi/btrfs_volume.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { sleep } from "../../../lib/base/sleep.ts";
import { must } from "../../support/cases.ts";
import { directory, storeCase as anyStoreCase, type TestStore } from "./support.ts";
import { diff, fill } from "../../support/layers.ts";
import { assertFails } from "../../support/errors.ts";
import { names } from "../../support/files.ts";

const onVolume = <T>(use: (volume: number) => T): T =>
  withFd(open(directory, O_RDONLY | O_DIRECTORY), use);

const mode = (): QuotaMode => onVolume((volume) => quotaStatus(volume).mode);
const setMode = (mode: QuotaMode) =>
  onVolume((volume) => {
    if (quotaStatus(volume).mode !== "off") disableQuota(volume);
    if (mode !== "off") unwrap(tryEnableQuota(volume, mode), "quota");
  });

/** The qgroups of the file system, once nothing waits for the kernel's cleaner. */
function settledQgroups(): bigint[] {
  return onVolume((volume) => {
    commit(volume);
    return qgroups(volume);
  });
}

/** A case that begins and ends with quotas off. */
function storeCase(name: string, body: (store: TestStore, scratch: string) => void): void {
  anyStoreCase(name, (store, dir) => {
    setMode("off");
    try {
      body(store, dir.path);
    } finally {
      setMode("off");
    }
  });
}

const size = (text: string) => new Map([["size", text]]);
const MIB = 1 << 20;

/** Writes files of a MiB until the limit is met; how many there was room for. */
function writeUntilFull(root: string, most = 100): number {
  for (let i = 0; i < most; i++) {
    try {
      Deno.writeFileSync(
        `${root}/mib-${i}`,
        crypto.getRandomValues(new Uint8Array(65536)).length
          ? new Uint8Array(MIB).fill(i + 1)
          : new Uint8Array(),
      );
    } catch (error) {
      assertMatch(String(error), /quota exceeded/i);
      return i;
    }
  }
  return most;
}

const records = (driver: GraphDriver) => names(`${driver.home}/.veneer/qgroups`);

/**
 * A cleanup that leaves no record of a qgroup: again if the kernel's cleaner, on a busy machine, takes longer than the
 * five seconds that a cleanup waits for it.
 */
function cleanUp(driver: GraphDriver): void {
  for (let tries = 1;; tries++) {
    const began = performance.now();
    driver.cleanup();
    if (records(driver).length === 0) return;
    assert(performance.now() - began >= 5000 && tries < 20, `${records(driver)} are left`);
  }
}

storeCase("a stray file among the records of qgroups is in nobody's way", (store) => {
  using driver = store.driver();
  driver.create("a");
  Deno.writeTextFileSync(`${driver.home}/.veneer/qgroups/stray`, "");
  driver.createReadWrite("b", { parent: "a", storageOptions: size("10M") });
  driver.remove("b");
  driver.remove("a");
  driver.cleanup();
  assertEquals(names(`${driver.home}/.veneer/qgroups`), ["stray"]);
});

storeCase("a size is met with EDQUOT, and counts what is inherited", (store) => {
  const driver = store.driver();
  assertEquals(mode(), "off");
  fill(
    driver,
    "base",
    (root) => Deno.writeFileSync(`${root}/base`, new Uint8Array(4 * MIB).fill(7)),
  );
  driver.createReadWrite("limited", { parent: "base", storageOptions: size("10M") });
  assertEquals(mode(), "qgroup");
  assertEquals(Deno.readTextFileSync(`${driver.home}/quotas/limited`), "10485760");
  const root = driver.get("limited");
  const fit = writeUntilFull(root);
  assert(fit >= 4 && fit <= 6, `${fit} MiB fit beside 4 inherited ones`);
  // Room again after something is removed.
  for (const i of [0, 1, 2]) Deno.removeSync(`${root}/mib-${i}`);
  must("sync", "-f", root);
  Deno.writeFileSync(`${root}/again`, new Uint8Array(MIB).fill(1));
  driver.put("limited");
  assertEquals(driver.getMetadata("limited").get("QgroupMaxReferenced"), "10485760");
  assert(Number(driver.getMetadata("limited").get("QgroupReferenced")) > 4 * MIB);

  // And the space is usable again after a removal.
  driver.remove("limited");
  driver.createReadWrite("limited", { parent: "base", storageOptions: size("10M") });
  const again = writeUntilFull(driver.get("limited"));
  assert(again >= 4 && again <= 6, `${again} MiB fit`);
  driver.put("limited");
});

storeCase("a child of a layer with a size has none", (store) => {
  const driver = store.driver();
  driver.createReadWrite("limited", { storageOptions: size("2M") });
  driver.create("child", { parent: "limited" });
  const root = driver.get("child");
  assertEquals(writeUntilFull(root, 6), 6);
  driver.put("child");
});

storeCase(
  "a size below what is inherited is refused, and a layer beyond its own is mounted",
  (store) => {
    const driver = store.driver();
    const make = (root: string) =>
      Deno.writeFileSync(`${root}/base`, new Uint8Array(4 * MIB).fill(7));
    fill(driver, "base", make);
    const create = (text: string) =>
      driver.createReadWrite("limited", { parent: "base", storageOptions: size(text) });
    const error = assertFails("invalid argument", () => create("1M"));
    assertMatch(error.message, /size 1 MiB is less than the 4\.\d+ MiB that it inherits from base/);
    assert(!driver.exists("limited"));
    assertEquals([...Deno.readDirSync(`${driver.home}/.veneer/staging`)], []);

    // The kernel sets no limit of what is beyond one, so that each mount must not set it again.
    driver.createReadWrite("tiny", { storageOptions: size("10") });
    must("sync", "-f", driver.home);
    for (let i = 0; i < 2; i++) {
      assertMatch(String(assertThrows(() => Deno.mkdirSync(`${driver.get("tiny")}/d`))), /quota/i);
      driver.put("tiny");
    }
    create("6M");
    assert(writeUntilFull(driver.get("limited")) <= 2);
    driver.put("limited");

    // Simple quotas count what is written only.
    setMode("off");
    driver.remove("limited");
    const simple = store.driver(["btrfs.quota=simple"]);
    simple.createReadWrite("limited", { parent: "base", storageOptions: size("1M") });
  },
);

storeCase("space comes back to the file system after a removal", (store) => {
  const driver = store.driver();
  const free = () => Number(/(\d+)\s*$/.exec(must("df", "--output=avail", "-B1", directory))![1]);
  const before = free();
  for (let round = 0; round < 2; round++) {
    driver.createReadWrite("big", { storageOptions: size("300M") });
    for (let i = 0; i < 4; i++) {
      Deno.writeFileSync(`${driver.get("big")}/${i}`, new Uint8Array(24 * MIB).fill(i + 1));
      driver.put("big");
    }
    must("sync", "-f", directory);
    assert(before - free() > 80 * MIB, "it takes space");
    driver.remove("big");
    driver.cleanup();
    for (let i = 0; i < 1200 && before - free() > 20 * MIB; i++) {
      onVolume(commit);
      sleep(50);
    }
    assert(before - free() < 20 * MIB, "and gives it back");
  }
});

storeCase("quotas that Veneer turned on go off when no layer has a size", (store) => {
  const driver = store.driver();
  driver.createReadWrite("limited", { storageOptions: size("10M") });
  driver.cleanup();
  assertEquals(mode(), "qgroup", "a layer has a size");
  driver.remove("limited");
  cleanUp(driver);
  assertEquals(mode(), "off");
  assertEquals(records(driver), []);
});

storeCase("quotas that others turned on, or use, stay on", (store, scratch) => {
  setMode("qgroup");
  const driver = store.driver();
  driver.createReadWrite("limited", { storageOptions: size("10M") });
  driver.remove("limited");
  driver.cleanup();
  assertEquals(mode(), "qgroup");

  setMode("off");
  driver.createReadWrite("limited", { storageOptions: size("10M") });
  const theirs = `${scratch}/theirs`;
  must("btrfs", "subvolume", "create", theirs);
  must("btrfs", "qgroup", "limit", "1G", theirs);
  driver.remove("limited");
  driver.cleanup();
  assertEquals(mode(), "qgroup", "somebody else has a limit");
  must("btrfs", "subvolume", "delete", theirs);
});

storeCase("no qgroup is left of layers, of what lay in them, or of diffs", (store, scratch) => {
  setMode("qgroup");
  const before = new Set(settledQgroups());
  const driver = store.driver();
  for (let i = 0; i < 3; i++) {
    driver.create(`base-${i}`);
    driver.createReadWrite(`layer-${i}`, { parent: `base-${i}`, storageOptions: size("50M") });
    const root = driver.get(`layer-${i}`);
    Deno.writeFileSync(`${root}/data`, new Uint8Array(MIB).fill(i + 1));
    driver.put(`layer-${i}`);
    diff(driver, `layer-${i}`, undefined, scratch);
    must("btrfs", "subvolume", "create", `${root}/nested`);
    Deno.writeFileSync(`${root}/nested/data`, new Uint8Array(MIB).fill(i + 1));
  }
  for (let i = 0; i < 3; i++) {
    driver.remove(`layer-${i}`);
    driver.remove(`base-${i}`);
  }
  cleanUp(driver);
  assertEquals(settledQgroups().filter((id) => !before.has(id)), []);
});

storeCase("a qgroup that is busy goes with a later operation", (store) => {
  setMode("qgroup");
  const driver = store.driver();
  driver.create("base");
  fill(
    driver,
    "layer",
    (root) => Deno.writeFileSync(`${root}/data`, new Uint8Array(MIB).fill(1)),
    "base",
  );
  // An open file keeps the kernel's cleaner from the subvolume.
  using _held = Deno.openSync(`${driver.home}/subvolumes/layer/data`);
  driver.remove("layer");
  const [id, ...more] = records(driver);
  assertMatch(id, /^\d+$/);
  assertEquals(more, []);
  assert(settledQgroups().includes(BigInt(id)));
  driver.create("busy-still");
  assertEquals(records(driver), [id]);
  _held.close();
  for (let i = 0; i < 1200 && records(driver).length > 0; i++) {
    onVolume(commit);
    sleep(i < 100 ? 20 : 60);
    driver.create(`try-${i}`);
  }
  assertEquals(records(driver), []);
  assert(!settledQgroups().includes(BigInt(id)));
});

storeCase("get applies a recorded size, unless it is below min_space", (store) => {
  let driver = store.driver();
  driver.createReadWrite("limited", { storageOptions: size("4M") });
  setMode("off"); // With it go the limits.
  const root = driver.get("limited");
  assertEquals(mode(), "qgroup");
  assert(writeUntilFull(root, 10) < 5);
  driver.put("limited");

  setMode("off");
  driver = store.driver(["BTRFS.Min_Space=100M"]);
  assertEquals(mode(), "qgroup", "min_space turns quotas on at open");
  driver.get("limited");
  assertEquals(writeUntilFull(root, 10), 10);
  driver.put("limited");
  driver.cleanup();
  assertEquals(mode(), "qgroup");
});

storeCase("sizes that cannot be are refused", (store) => {
  const driver = store.driver(["btrfs.min_space=1G"]);
  const create = (text: string) => () =>
    driver.createReadWrite("x", { storageOptions: new Map([["Size", text]]) });
  assertMatch(assertFails("invalid argument", create("0")).message, /above 0/);
  const error = assertFails("invalid argument", create("512M"));
  assertMatch(error.message, /512 MiB is less than btrfs\.min_space, 1 GiB/);
  assertFails("invalid argument", create("-1"));
  create("1G")();
  assertFails("invalid argument", () => store.driver(["btrfs.min_space=little"]));
  assertFails("invalid argument", () => store.driver(["btrfs.quota=maybe"]));
  assertFails("invalid argument", () => store.driver(["btrfs.quota=off", "btrfs.min_space=1G"]));
  const typo = assertFails("invalid argument", () => store.driver(["btrfs.minspace=1G"]));
  assertMatch(typo.message, /btrfs\.min_space\?/);

  const off = store.driver(["btrfs.quota=off"]);
  const refused = () => off.createReadWrite("y", { storageOptions: size("2G") });
  assertMatch(assertFails("not supported", refused).message, /btrfs\.quota=off/);
  assert(!off.exists("y"));
});

storeCase("a damaged size record is named", (store) => {
  const driver = store.driver();
  driver.create("layer");
  Deno.writeTextFileSync(`${driver.home}/quotas/layer`, "ten");
  assertMatch(assertFails("corrupt store", () => driver.get("layer")).message, /quotas\/layer/);
  driver.remove("layer");
  assertThrows(() => Deno.statSync(`${driver.home}/quotas/layer`), Deno.errors.NotFound);
});

anyStoreCase("full qgroups that are on are used where simple ones were asked for", (store) => {
  setMode("qgroup");
  const driver = store.driver(["btrfs.quota=simple"]);
  driver.createReadWrite("limited", { storageOptions: size("10M") });
  assertEquals(mode(), "qgroup");
  assertMatch(store.warnings.join("\n"), /full qgroups are on here already/);
  setMode("off");
});
