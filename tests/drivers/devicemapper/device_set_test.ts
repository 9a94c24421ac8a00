/** The devices of a store, without layers: every public function, and what is in the kernel and on disk. */
// @runs on guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import type { DeviceSet } from "../../../drivers/devicemapper/device_set.ts";
import { EEXIST, ENODATA } from "../../../ffi/errno.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { isMountPoint } from "../../../lib/mount/mountinfo.ts";
import { must, needs } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";
import { assertNoDevices, deviceNames, FILE_SYSTEM, lacking, openSet } from "./support.ts";

/** A device set of a case's own. */
interface Case {
  readonly set: DeviceSet;
  readonly root: string;
  readonly mnt: string;
  read(file: string): string;
}

function test(name: string, body: (store: Case) => void, options: string[] = []): void {
  needs(lacking, `devicemapper's device set with ${FILE_SYSTEM}: ${name}`, () => {
    using dir = storeDir();
    const root = `${dir.path}/root`, mnt = `${dir.path}/mnt`;
    Deno.mkdirSync(mnt);
    const set = openSet(root, { options });
    body({
      set,
      root,
      mnt,
      read: (file) => Deno.readTextFileSync(`${root}/devicemapper/metadata/${file}`),
    });
    set.shutdown();
    assertNoDevices(root);
  });
}

test("add makes a device of its own number, in a transaction of its own", ({ set, read }) => {
  set.add("one", "");
  set.add("two", "one");
  const [base, one, two] = ["base", "one", "two"].map((file) => JSON.parse(read(file)));
  assertEquals([base.device_id, one.device_id, two.device_id], [1, 2, 3]);
  assertEquals([base.transaction_id, one.transaction_id, two.transaction_id], [1, 2, 3]);
  assertEquals([base.initialized, one.initialized], [true, false]);
  assertEquals([base.size, two.size], [64 << 20, 64 << 20]);
  assertEquals(set.status().pool.transactionId, 3);
  assertThrows(() => read("transaction-metadata"), Deno.errors.NotFound);
  const { BaseDeviceUUID, BaseDeviceFilesystem } = JSON.parse(read("deviceset-metadata"));
  assertEquals([BaseDeviceUUID.length, BaseDeviceFilesystem], [36, FILE_SYSTEM]);
  assertEquals(deviceNames(), [set.pool.name]);
});

test("remove forgets a device, and its number is used again", ({ set }) => {
  for (const hash of ["a", "b", "c"]) set.add(hash, "");
  const { deviceId } = set.describe("b");
  set.remove("b");
  assertEquals([set.has("b"), set.list()], [false, ["a", "c"]]);
  assertEquals(assertThrows(() => set.remove("b"), VeneerError).code, "not found");
  assertEquals(assertThrows(() => set.add("x", "b"), VeneerError).code, "not found");
  set.add("d", "a");
  assertEquals(set.describe("d").deviceId, deviceId);
  assertEquals(set.status().pool.transactionId, 6);
});

test("mount, unmount and activation", ({ set, mnt }) => {
  set.add("one", "");
  assertEquals([set.isActivated("one"), set.isInitialized("one")], [false, false]);
  set.mount("one", mnt, { readOnly: true });
  assert(isMountPoint(mnt));
  assertThrows(() => Deno.writeTextFileSync(`${mnt}/file`, "x"));
  assertEquals([set.isActivated("one"), set.isInitialized("one")], [true, false]);
  set.unmount("one", mnt, { keepActive: true });
  assertEquals([set.isActivated("one"), isMountPoint(mnt)], [true, false]);
  set.mount("one", mnt);
  assertEquals(set.isInitialized("one"), true);
  Deno.writeTextFileSync(`${mnt}/file`, "content");
  assert((set.usage("one")?.mappedSectors ?? 0) > 0);
  set.unmount("one", mnt);
  assertEquals([set.isActivated("one"), set.usage("one")], [false, undefined]);
  set.mount("one", mnt, { readOnly: true });
  assertEquals(Deno.readTextFileSync(`${mnt}/file`), "content");
  set.unmount("one", mnt);
});

test("what was marked initialized stays so", ({ set, root }) => {
  set.add("one", "");
  set.setInitialized("one");
  set.setInitialized("one");
  assertEquals(openSet(root).isInitialized("one"), true);
});

test("a snapshot of a mounted device has what was written to it", ({ set, mnt }) => {
  set.add("one", "");
  set.mount("one", mnt);
  Deno.writeTextFileSync(`${mnt}/before`, "not synced");
  set.add("two", "one");
  Deno.writeTextFileSync(`${mnt}/after`, "x");
  set.unmount("one", mnt);
  set.mount("two", mnt, { readOnly: true });
  assertEquals(Deno.readTextFileSync(`${mnt}/before`), "not synced");
  assertThrows(() => Deno.statSync(`${mnt}/after`), Deno.errors.NotFound);
  set.unmount("two", mnt);
});

test("a larger device has a larger file system, and so have its snapshots", ({ set, mnt }) => {
  set.add("one", "");
  set.add("large", "one", 100 << 20);
  set.add("child", "large");
  for (const [hash, least] of [["one", 40], ["large", 80], ["child", 80]] as const) {
    set.mount(hash, mnt);
    const size = Number(must("stat", "-f", "-c", "%b", mnt)) *
      Number(must("stat", "-f", "-c", "%S", mnt));
    assert(size > least << 20 && size < (least + 24) << 20, `${hash}: ${size}`);
    set.unmount(hash, mnt);
  }
  const error = assertThrows(() => set.add("small", "large", 80 << 20), VeneerError);
  assertEquals(error.code, "invalid argument");
  assertEquals(set.has("small"), false);
});

test("status is what the pool is", ({ set }) => {
  const before = set.status();
  assertEquals(before.blockSize, 65536);
  assertEquals(before.pool.totalData * 65536, 1 << 30);
  assertEquals([before.deleted, before.base], [0, undefined]);
  set.add("one", "");
  const after = set.status();
  assert(after.pool.usedData > before.pool.usedData);
  assertEquals(after.base?.size, 64 << 20);
  assertEquals(after.baseFileSystem, FILE_SYSTEM);
});

test("shutdown leaves nothing active and loses nothing; another set goes on", ({ set, root, mnt }) => {
  set.add("one", "");
  set.mount("one", mnt);
  Deno.writeTextFileSync(`${mnt}/file`, "content");
  set.unmount("one", mnt, { keepActive: true });
  set.shutdown();
  assertNoDevices(root);

  const other = openSet(root);
  assertEquals([other.list(), other.has("one")], [["one"], true]);
  other.mount("one", mnt);
  assertEquals(Deno.readTextFileSync(`${mnt}/file`), "content");
  other.unmount("one", mnt);
  other.add("two", "one");
  other.shutdown();
  // The first one finds the pool gone, and brings it up again.
  set.add("three", "two");
  assertEquals(set.list(), ["one", "three", "two"]);
});

test("two sets change one store in turn", ({ set, root }) => {
  const other = openSet(root);
  set.add("a", "");
  other.add("b", "a");
  set.add("c", "b");
  other.remove("a");
  set.add("d", "c");
  assertEquals([set.list(), other.list()], [["b", "c", "d"], ["b", "c", "d"]]);
  const ids = ["b", "c", "d"].map((hash) => set.describe(hash).deviceId);
  assertEquals(new Set(ids).size, 3);
});

test("reset gives a device its origin's content under another number", ({ set, mnt }) => {
  set.add("one", "");
  set.add("two", "one", 80 << 20);
  set.mount("two", mnt);
  Deno.writeTextFileSync(`${mnt}/file`, "content");
  set.unmount("two", mnt);
  const { deviceId, size } = set.describe("two");
  set.reset("two", "one");
  const now = set.describe("two");
  assert(now.deviceId !== deviceId);
  assertEquals([now.size, now.initialized, set.list()], [size, false, ["one", "two"]]);
  set.mount("two", mnt);
  assertThrows(() => Deno.statSync(`${mnt}/file`), Deno.errors.NotFound);
  set.unmount("two", mnt);
  // The number of the first is free again.
  set.add("three", "one");
  assertEquals(set.describe("three").deviceId, deviceId);
});

test("beside Docker's daemon, its open transaction and deletions stay as they are", (store) => {
  const { set, root, mnt, read } = store;
  set.add("layer", "");
  set.add("other", "");
  set.activate("layer");
  const { transactionId } = set.status().pool;
  // A device that is being made, one that waits for its deletion, one that is suspended for a snapshot.
  assertEquals(set.pool.tryCreateThin(9), 0);
  const open = { deviceId: 9, size: 64 << 20, transactionId: transactionId + 1 };
  set.records.write("new", { ...open, initialized: false, deleted: false });
  const note = { openTransactionId: transactionId + 1, hash: "new", deviceId: 9 };
  set.records.writeTransaction(note);
  set.records.write("other", { ...set.records.read("other")!, deleted: true });
  must("dmsetup", "suspend", set.names.device("layer"));
  const before = ["new", "other", "layer", "transaction-metadata"].map(read);

  const beside = openSet(root, { daemon: () => "dockerd (pid 1)" });
  beside.start();
  assertEquals(beside.list(), ["layer", "new"]);
  assertEquals(beside.status().pool.transactionId, transactionId);
  assertEquals(beside.activate("layer", "read"), set.path("layer"));
  assertEquals(
    must("dmsetup", "info", "-c", "-o", "suspended", "--noheadings", set.names.device("layer"))
      .trim(),
    "Suspended",
  );
  const changes = [
    () => beside.requireSole(),
    () => beside.add("more", "layer"),
    () => beside.retire("layer"),
    () => beside.dispose("other"),
    () => beside.remove("layer"),
    () => beside.reset("layer", ""),
    () => beside.activate("layer"),
    () => beside.setInitialized("new"),
    () => beside.shutdown(),
  ];
  for (const change of changes) {
    const error = assertThrows(change, VeneerError);
    assertEquals(error.code, "in use");
    assertStringIncludes(error.message, "dockerd (pid 1) runs on this store");
  }
  assertEquals(["new", "other", "layer", "transaction-metadata"].map(read), before);
  assertEquals(set.pool.tryCreateThin(9), -EEXIST);
  must("dmsetup", "resume", set.names.device("layer"));
  beside.mount("layer", mnt, { readOnly: true });
  beside.unmount("layer", mnt);

  // Without the daemon they are what a killed process left.
  const alone = openSet(root, { warn: () => {} });
  alone.start();
  assertEquals([alone.list(), alone.records.has("other")], [["layer"], false]);
  assertEquals(alone.pool.tryDelete(9), -ENODATA);
});

test("beside Docker's daemon a pool is not brought up", ({ root }) => {
  const beside = openSet(root, { daemon: () => "dockerd (pid 1)" });
  const { code, message } = assertThrows(() => beside.start(), VeneerError);
  assertEquals(code, "in use");
  assertStringIncludes(message, "is not up yet");
  assertNoDevices(root);
});
