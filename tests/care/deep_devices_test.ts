/** `check --deep` of devicemapper: the file systems of layers against the records of their applies. */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { parseOptions } from "../../lib/base/options.ts";
import { type Checked, checkStore } from "../../lib/care/check.ts";
import { parseContent } from "../../lib/care/content_record.ts";
import { recordContents } from "../../lib/care/content_recording.ts";
import { devicemapper } from "../../drivers/devicemapper/mod.ts";
import { must, needs, tempDir } from "../support/cases.ts";
import { isThere, names } from "../support/files.ts";
import { image, layer, oneImage, sha256, writeFiles } from "../images/builder.ts";
import { imageStore } from "../images/support.ts";
import { openSnapshotter } from "../support/drivers.ts";
import {
  assertNoDevices,
  deviceNames,
  lacking,
  loopDevice,
  openSet,
  openStore,
  SMALL,
} from "../drivers/devicemapper/support.ts";
import { tar } from "../tar/support/tar_builder.ts";
import { assertFound } from "./support.ts";

const checks = await devicemapper.loadChecks!();

const TREE = tar(
  { name: "etc/", type: "5", mode: 0o755 },
  { name: "etc/passwd", data: "root\n", mtime: 1_000_000_000 },
  { name: "etc/other", type: "1", link: "etc/passwd" },
  { name: "sh", type: "2", link: "bin/sh" },
  { name: "large", data: "0123456789abcdef".repeat(10_000), mtime: 1_000_000_000 },
);

const storeAt = (root: string, of: "layers" | "snapshots" = "layers", words: string[] = []) =>
  ({ root, driver: "devicemapper", of, checks, deep: true, options: parseOptions(words) }) as const;

const deepCheck = (...of: Parameters<typeof storeAt>): Checked => checkStore(storeAt(...of), 0)!;

/** Changes a layer's files below the store, through its device. */
function tamper(
  root: string,
  id: string,
  scratch: string,
  act: (root: string) => void,
  options: readonly string[] = [],
): void {
  const set = openSet(root, { options });
  const at = join(scratch, "at");
  Deno.mkdirSync(at, { recursive: true });
  set.mount(id, at);
  act(join(at, "rootfs"));
  set.unmount(id, at);
  set.shutdown();
}

/** Makes a base layer from the tree and a child with one file more, with records. */
function fill(root: string, scratch: string, options: readonly string[]): void {
  using layers = openStore(root, { options });
  const [one, two] = ["one.tar", "two.tar"].map((name) => join(scratch, name));
  Deno.writeFileSync(one, TREE);
  Deno.writeFileSync(two, tar({ name: "etc/app", data: "app\n", mtime: 1_000_000_000 }));
  layers.create("app");
  layers.applyDiff("app", undefined, one);
  layers.create("child", { parent: "app" });
  layers.applyDiff("child", undefined, two);
  layers.cleanup();
}

/** Writes over a byte, and keeps the time. */
function flip(path: string): void {
  const { mtime } = Deno.statSync(path);
  {
    using file = Deno.openSync(path, { write: true });
    file.seekSync(100, Deno.SeekMode.Start);
    file.writeSync(new TextEncoder().encode("X"));
  }
  Deno.utimeSync(path, mtime!, mtime!);
}

needs(lacking, "check: deep: devicemapper: changes in a device are told apart", () => {
  using dir = tempDir();
  const { path } = dir, root = join(path, "root");
  fill(root, path, ["record=hash"]);
  assertNoDevices();
  const file = (name: string) => `mnt/app/rootfs/${name}`;
  // The pool is not active, and is not left so.
  const whole = deepCheck(root);
  assertFound(whole, []);
  assertEquals(whole.untold, 0);
  assertNoDevices(root);
  const cases: [act: (root: string) => void, found: string[]][] = [
    [(root) => flip(join(root, "large")), [`content-flipped ${file("large")}`]],
    [(root) => Deno.truncateSync(join(root, "etc/passwd")), [
      `content-emptied ${file("etc/passwd")}`,
      `content-flipped ${file("large")}`,
    ]],
    [(root) => Deno.removeSync(join(root, "large")), [
      `content-emptied ${file("etc/passwd")}`,
      `content-missing ${file("large")}`,
    ]],
  ];
  for (const [act, found] of cases) {
    tamper(root, "app", path, act);
    assertFound(deepCheck(root), found, ["app", "child"]);
  }
  // While the pool is up, and the child is mounted read-only.
  using layers = openStore(root);
  layers.get("child", { readOnly: true });
  assertFound(deepCheck(root), cases[2][1], ["app", "child"]);
  layers.put("child");
  // A mount for writing ends the record.
  layers.get("child");
  layers.put("child");
  assertEquals(deepCheck(root).untold, 1);
  layers.cleanup();
  assertNoDevices(root);
});

needs(lacking, "check: deep: devicemapper: a device without its file system is found", () => {
  using dir = tempDir();
  const { path } = dir, root = join(path, "root");
  fill(root, path, ["record=sizes"]);
  const set = openSet(root);
  const node = set.activate("child");
  must("dd", "if=/dev/zero", `of=${node}`, "bs=4096", "count=4", "conv=fsync", "status=none");
  set.deactivate("child");
  set.shutdown();
  assertFound(deepCheck(root), ["content-unreadable mnt/child/rootfs"], ["child"]);
});

needs(lacking, "check: deep: devicemapper: layers on given devices, and their records", () => {
  using dir = tempDir();
  const { path } = dir, root = join(path, "root");
  using data = loopDevice(`${path}/data.img`, 256 << 20);
  using meta = loopDevice(`${path}/meta.img`, 8 << 20);
  const options = [`dm.datadev=${data.path}`, `dm.metadatadev=${meta.path}`];
  fill(root, path, [...options, "record=none"]);
  assertEquals(deepCheck(root, "layers", options).untold, 2);
  const store = storeAt(root, "layers", options);
  const failed = (error: Error) => {
    throw error;
  };
  const record = () => recordContents(store, checkStore(store, 0)!, () => true, failed);
  assertEquals(record(), ["app", "child"]);
  assertEquals(record(), []);
  assertFound(deepCheck(root, "layers", options), []);
  tamper(root, "child", path, (root) => flip(join(root, "large")), options);
  assertFound(deepCheck(root, "layers", options), ["content-flipped mnt/child/rootfs/large"]);
  assertNoDevices();
});

needs(lacking, "check: deep: devicemapper: committed snapshots are recorded, and compared", () => {
  using dir = tempDir();
  const { path } = dir, root = join(path, "root");
  const file = join(path, "layer.tar");
  Deno.writeFileSync(file, TREE);
  {
    using snapshots = openSnapshotter({ root, driver: "devicemapper", options: SMALL });
    snapshots.prepare("work", "");
    snapshots.applyDiff("work", file);
    snapshots.commit("one", "work");
    snapshots.cleanup();
  }
  const store = storeAt(root, "snapshots");
  const failed = (error: Error) => {
    throw error;
  };
  assertEquals(deepCheck(root, "snapshots").untold, 1);
  assertEquals(recordContents(store, checkStore(store, 0)!, () => true, failed), ["one"]);
  const checked = deepCheck(root, "snapshots");
  assertFound(checked, []);
  assertEquals(checked.untold, 0);
  const [{ layer }] = checked.rows!.snapshots;
  const record = join(root, "snapshots/devicemapper/.veneer/content", layer);
  assert(isThere(record));
});

needs(lacking, "check: deep: devicemapper: layers in a named pool, which stays up", () => {
  using dir = tempDir();
  const { path } = dir, root = join(path, "root"), name = `veneer-deep-${Deno.pid}`;
  using data = loopDevice(`${path}/data.img`, 256 << 20);
  using meta = loopDevice(`${path}/meta.img`, 8 << 20);
  const table = `0 524288 thin-pool ${meta.path} ${data.path} 128 0 1 skip_block_zeroing`;
  must("dmsetup", "create", name, "--table", table);
  using _pool = { [Symbol.dispose]: () => void must("dmsetup", "remove", "--retry", name) };
  const options = [`dm.thinpooldev=/dev/mapper/${name}`];
  fill(root, path, [...options, "record=hash"]);
  const whole = deepCheck(root, "layers", options);
  assertFound(whole, []);
  assertEquals(whole.untold, 0);
  tamper(root, "app", path, (root) => flip(join(root, "large")), options);
  tamper(root, "child", path, (root) => Deno.truncateSync(join(root, "etc/app")), options);
  const found = [
    "content-emptied mnt/child/rootfs/etc/app",
    "content-flipped mnt/app/rootfs/large",
  ];
  assertFound(deepCheck(root, "layers", options), found);
  // Another device of the pool is in use meanwhile.
  using layers = openStore(root, { options });
  layers.get("child", { readOnly: true });
  assertFound(deepCheck(root, "layers", options), found);
  layers.put("child");
  layers.cleanup();
  assertEquals(deviceNames(), [name]);
});

needs(lacking, "check: deep: devicemapper: an import records its layers", async () => {
  using store = await imageStore("devicemapper", SMALL);
  const plain = layer([{ name: "etc/", type: "5" }, { name: "etc/passwd", data: bytes("root") }]);
  const above = layer([{ name: "etc/passwd", data: bytes("more") }]);
  store.images.import(writeFiles(store.path("in"), oneImage(image([plain, above]))));
  const root = store.path("root");
  const whole = deepCheck(root, "snapshots");
  assertFound(whole, []);
  assertEquals([whole.count, whole.untold], [2, 0]);
  const records = join(root, "snapshots/devicemapper/.veneer/content");
  const diffIds = names(records).map((id) => {
    const content = parseContent(Deno.readFileSync(join(records, id)));
    assert(typeof content !== "string");
    return content.diffId;
  });
  assertEquals(diffIds.sort(), [plain, above].map(({ plain }) => sha256(plain)).sort());
});

const bytes = (text: string) => new TextEncoder().encode(text);
