/** `check` and `repair` of a pool on given devices: it is compared as one of images is. */
// @runs on guest ext4
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { type Checked, checkStore } from "../../lib/care/check.ts";
import { repairStore } from "../../lib/care/repair.ts";
import { parseOptions } from "../../lib/base/options.ts";
import { devicemapper } from "../../drivers/devicemapper/mod.ts";
import { must, needs, run, tempDir } from "../support/cases.ts";
import { PROGRAM } from "../support/commands.ts";
import { read } from "../support/files.ts";
import { lacking, loopDevice, openSet, openStore } from "../drivers/devicemapper/support.ts";
import { kindsOf } from "./support.ts";

const DRIVER = "devicemapper";

/** A check and a repair with these options, as `KIND FILE`; devices by their last names. */
class Store {
  constructor(readonly root: string, readonly options: readonly string[]) {}

  get #store() {
    const { root } = this, options = parseOptions(this.options);
    return { root, driver: DRIVER, of: "layers", checks: CHECKS, options } as const;
  }

  check(): Checked {
    return checkStore(this.#store, 0)!;
  }

  found(): string[] {
    return kindsOf(this.check());
  }

  repair() {
    const failed = (error: Error) => {
      throw error;
    };
    return repairStore(this.#store, { isWanted: () => true, failed, pause: 0 })!;
  }

  record(id: string): string {
    return join(this.root, DRIVER, "metadata", id);
  }
}

const CHECKS = await devicemapper.loadChecks!();

/** Makes layers, of which `app` has a child. */
function fill({ root, options }: Store): void {
  using layers = openStore(root, { options });
  layers.create("base-layer");
  for (const [id, parent] of [["app", "base-layer"], ["top", "app"]]) {
    layers.createReadWrite(id, { parent });
    Deno.writeTextFileSync(join(layers.get(id), id), id);
    layers.put(id);
  }
}

/** What is found of a store that is damaged, and mended, whether the pool is up or not. */
function damageRecords(store: Store, metadata: string): void {
  const before = JSON.parse(read(store.record("app")));
  Deno.writeTextFileSync(store.record("app"), "");
  assertEquals(store.found(), ["device-empty metadata/app"]);
  assertEquals(store.repair().lost, []);
  const { device_id, size } = JSON.parse(read(store.record("app")));
  assertEquals([device_id, size], [before.device_id, before.size]);
  const ids = ["app", "top"].map((id) => JSON.parse(read(store.record(id))).device_id);
  for (const id of ["app", "top"]) Deno.removeSync(store.record(id));
  const stray = `device-without-record ${metadata}`;
  assertEquals(store.found(), [stray, stray]);
  assertEquals(store.repair().mended.length, 2);
  assertEquals(store.found(), []);
  for (const [i, id] of ["app", "top"].entries()) {
    Deno.renameSync(store.record(`found-${ids[i]}`), store.record(id));
  }
  // The pool loses a device.
  const set = openSet(store.root, { options: store.options });
  set.start();
  assertEquals(set.pool.tryDelete(ids[1]), 0);
  assertEquals(store.found(), ["device-not-in-pool metadata/top"]);
  set.shutdown();
  assertEquals(store.found(), ["device-not-in-pool metadata/top"]);
  assertEquals(store.repair().lost.map(({ name }) => name), ["top"]);
  assertEquals(store.found(), []);
}

needs(lacking, "repair: devicemapper: a pool on given devices is compared with the records", () => {
  using dir = tempDir();
  using data = loopDevice(`${dir.path}/data.img`, 256 << 20);
  using meta = loopDevice(`${dir.path}/meta.img`, 8 << 20);
  const options = [`dm.datadev=${data.path}`, `dm.metadatadev=${meta.path}`];
  const store = new Store(join(dir.path, "root"), options);
  fill(store);
  // The active pool tells its devices, whatever the options.
  assertEquals(store.found(), []);
  const text = read(store.record("app"));
  Deno.writeTextFileSync(store.record("app"), text.replace(/"device_id":\d+/, '"device_id":99'));
  const missing = ["device-not-in-pool metadata/app", `device-without-record ${meta.path}`];
  assertEquals(store.found(), missing);
  assertEquals(new Store(store.root, []).found(), missing);
  Deno.writeTextFileSync(store.record("app"), text);
  openStore(store.root, { options }).cleanup();
  // Nothing tells them now.
  Deno.writeTextFileSync(store.record("app"), text.replace(/"device_id":\d+/, '"device_id":99'));
  assertEquals(new Store(store.root, []).found(), []);
  assertEquals(store.found(), missing);
  Deno.writeTextFileSync(store.record("app"), text);
  damageRecords(store, meta.path);
  // A wrong option, and metadata that is overwritten, give up no layer.
  using other = loopDevice(`${dir.path}/other.img`, 8 << 20);
  const wrong = new Store(store.root, [options[0], `dm.metadatadev=${other.path}`]);
  assertEquals(wrong.found(), [`metadata-device-damaged ${other.path}`]);
  using elsewhere = loopDevice(`${dir.path}/elsewhere.img`, 256 << 20);
  const another = new Store(join(dir.path, "another"), [
    `dm.datadev=${elsewhere.path}`,
    `dm.metadatadev=${other.path}`,
  ]);
  openStore(another.root, { options: another.options }).status();
  openStore(another.root, { options: another.options }).cleanup();
  assertEquals(wrong.found(), [`metadata-device-other ${other.path}`]);
  assertEquals(wrong.repair().lost, []);
});

needs(lacking, "repair: devicemapper: a named pool is compared with the records", () => {
  using dir = tempDir();
  using data = loopDevice(`${dir.path}/data.img`, 256 << 20);
  using meta = loopDevice(`${dir.path}/meta.img`, 8 << 20);
  const name = `veneer-test-${Deno.pid}`;
  must(
    "dmsetup",
    "create",
    name,
    "--table",
    `0 524288 thin-pool ${meta.path} ${data.path} 128 0 1 skip_block_zeroing`,
  );
  using _pool = { [Symbol.dispose]: () => void must("dmsetup", "remove", "--retry", name) };
  const store = new Store(join(dir.path, "root"), [`dm.thinpooldev=/dev/mapper/${name}`]);
  fill(store);
  assertEquals(store.found(), []);
  damageRecords(store, meta.path);
  // The command reads the option, too.
  Deno.writeTextFileSync(store.record("app"), "");
  const [program, ...words] = PROGRAM;
  const check = (...more: string[]) =>
    run(program, ...words, "--root", store.root, ...more, "check").stdout;
  assertStringIncludes(
    check("-o", store.options[0]),
    `\`veneer --root ${store.root} -o ${store.options[0]} repair\` mends 1\n`,
  );
  assertStringIncludes(check(), "repair` moves the layers of 1 aside");
  openStore(store.root, { options: store.options }).cleanup();
});
