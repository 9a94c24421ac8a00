/** `check` and `repair` of a real pool: records without a device, and devices without a record. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { needs, tempDir } from "../support/cases.ts";
import { openSnapshotter } from "../support/drivers.ts";
import { names, read } from "../support/files.ts";
import { lacking, openSet, openStore, SMALL } from "../drivers/devicemapper/support.ts";
import { assertFound, check, repair } from "./support.ts";

const DRIVER = "devicemapper";

/** A layer's files. */
function filesOf(root: string, id: string): string[] {
  using layers = openStore(root);
  const files = names(layers.get(id, { readOnly: true }));
  layers.put(id);
  layers.cleanup();
  return files;
}

needs(lacking, "repair: devicemapper: the pool mends records, and records that it lacks go", () => {
  using dir = tempDir();
  const { path: root } = dir, home = join(root, DRIVER);
  const record = (id: string) => join(home, "metadata", id);
  {
    using layers = openStore(root);
    layers.create("base-layer");
    for (const [id, parent] of [["app", "base-layer"], ["top", "app"], ["other", "base-layer"]]) {
      layers.createReadWrite(id, { parent });
      Deno.writeTextFileSync(join(layers.get(id), id), id);
      layers.put(id);
    }
    // While the pool is up, and its metadata changes in the kernel.
    assertFound(check(root, DRIVER), []);
    layers.cleanup();
  }
  assertFound(check(root, DRIVER), []);
  // A power cut left nothing of a record; only its device in the pool is left.
  const before = JSON.parse(read(record("app")));
  Deno.writeTextFileSync(record("app"), "");
  assertFound(check(root, DRIVER), ["device-empty metadata/app"], ["app", "top"]);
  assertEquals(repair(root, DRIVER).lost, []);
  const { device_id, size, transaction_id } = JSON.parse(read(record("app")));
  assertEquals([device_id, size, transaction_id], [
    before.device_id,
    before.size,
    before.transaction_id,
  ]);
  assertEquals(filesOf(root, "app"), ["app"]);
  // Two records are gone: nothing tells which device is whose, so both are kept under new names.
  const numbers = ["top", "other"].map((id) => JSON.parse(read(record(id))).device_id);
  for (const id of ["top", "other"]) Deno.removeSync(record(id));
  const stray = "device-without-record devicemapper/metadata";
  assertFound(check(root, DRIVER), [stray, stray], []);
  assertEquals(repair(root, DRIVER).mended.length, 2);
  assertFound(check(root, DRIVER), []);
  assertEquals(numbers.map((number) => filesOf(root, `found-${number}`)), [
    ["app", "top"],
    ["other"],
  ]);
  // The pool loses a device.
  const set = openSet(root);
  set.start();
  assertEquals(set.pool.tryDelete(device_id), 0);
  assertFound(check(root, DRIVER), ["device-not-in-pool metadata/app"], ["app"]);
  set.shutdown();
  assertEquals(repair(root, DRIVER).lost.map(({ name }) => name), ["app"]);
  assertFound(check(root, DRIVER), []);
  // Nothing is deleted by a note that the pool is far from.
  const ahead = { open_transaction_id: 1000, device_hash: "new", device_id: numbers[0] };
  Deno.writeTextFileSync(record("transaction-metadata"), JSON.stringify(ahead));
  assertFound(check(root, DRIVER), ["transaction-metadata-ahead metadata/transaction-metadata"]);
  const warnings: string[] = [];
  {
    const again = openSet(root, { warn: (message) => warnings.push(message) });
    again.start();
    assertEquals(again.pool.has(numbers[0]), true);
    again.shutdown();
  }
  assertEquals(warnings.length, 1);
  assertFound(check(root, DRIVER), []);
});

needs(lacking, "repair: devicemapper: a snapshot's lost record is made from the pool", () => {
  using dir = tempDir();
  const { path: root } = dir, store = { root, driver: DRIVER, options: SMALL };
  {
    using snapshots = openSnapshotter(store);
    snapshots.prepare("work", "");
    Deno.writeTextFileSync(join(snapshots.mount("work"), "file"), "text");
    snapshots.unmount("work");
    snapshots.commit("one", "work");
    snapshots.prepare("second", "one");
    snapshots.cleanup();
  }
  const { rows } = check(root, DRIVER, "snapshots");
  const { layer } = rows!.snapshots.find(({ name }) => name === "one")!;
  Deno.removeSync(join(root, "snapshots", DRIVER, "metadata", layer));
  assertFound(check(root, DRIVER, "snapshots"), [`snapshot-device-missing metadata/${layer}`]);
  assertEquals(repair(root, DRIVER, "snapshots").lost, []);
  assertFound(check(root, DRIVER, "snapshots"), []);
  using snapshots = openSnapshotter(store);
  snapshots.view("look", "one");
  assertEquals(read(join(snapshots.mount("look"), "file")), "text");
  snapshots.unmount("look");
  snapshots.cleanup();
});
