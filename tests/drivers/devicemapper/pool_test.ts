/** devicemapper's pools and stores: what they are made of, full ones, damaged ones, other people's. */
// @runs on guest ext4, guest xfs
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fill, treeOf } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { must, needs, run } from "../../support/cases.ts";
import { refuses } from "../../support/errors.ts";
import {
  assertNoDevices,
  FILE_SYSTEM,
  lacking,
  loopDevice,
  openStore,
  writeZeros,
} from "./support.ts";
import { isMountPoint } from "../../../lib/mount/mountinfo.ts";

/** Where a case runs: one that a second file system below the layers says nothing new about, on ext4 alone. */
type Where = "ext4" | "xfs" | "both";

function test(name: string, body: (root: string) => void, where: Where = "ext4"): void {
  const elsewhere = where === "both" || where === FILE_SYSTEM ? undefined : `it runs on ${where}`;
  needs(lacking ?? elsewhere, `devicemapper with ${FILE_SYSTEM}: ${name}`, () => {
    using dir = storeDir();
    body(`${dir.path}/root`);
    assertNoDevices(`${dir.path}/root`);
  });
}

const home = (root: string) => `${root}/devicemapper`;
const metadata = (root: string, name: string) => `${home(root)}/metadata/${name}`;
const statusOf = (driver: ReturnType<typeof openStore>) => new Map(driver.status());

test("status has every line that Docker prints", (root) => {
  const driver = openStore(root);
  driver.create("layer");
  assertEquals(driver.status().map(([name]) => name), [
    "Pool Name",
    "Pool Blocksize",
    "Base Device Size",
    "Backing Filesystem",
    "Udev Sync Supported",
    "Data file",
    "Metadata file",
    "Data loop file",
    "Metadata loop file",
    "Data Space Used",
    "Data Space Total",
    "Data Space Available",
    "Metadata Space Used",
    "Metadata Space Total",
    "Metadata Space Available",
    "Thin Pool Minimum Free Space",
    "Deferred Removal Enabled",
    "Deferred Deletion Enabled",
    "Deferred Deleted Device Count",
    "Library Version",
    "Semaphore Set Used",
    "Semaphore Set Total",
  ]);
  const status = statusOf(driver);
  assertMatch(status.get("Pool Name")!, /^docker-\d+:\d+-\d+-pool$/);
  assertEquals(status.get("Base Device Size"), "64 MiB");
  assertEquals(status.get("Backing Filesystem"), FILE_SYSTEM);
  assertEquals(status.get("Udev Sync Supported"), "false");
  assertEquals(status.get("Data loop file"), `${home(root)}/devicemapper/data`);
  assertEquals(status.get("Data Space Total"), "1 GiB");
  assertMatch(status.get("Library Version")!, /^1\.02\.\d+/);
  const { size } = JSON.parse(Deno.readTextFileSync(metadata(root, "layer")));
  assertEquals([...driver.getMetadata("layer")], [
    ["DeviceId", "2"],
    ["DeviceSize", String(size)],
    ["DeviceName", status.get("Pool Name")!.replace(/pool$/, "layer")],
  ]);
  driver.cleanup();
}, "both");

test("images grow with the options, whether the pool is up or not, and never shrink", (root) => {
  const total = (options: string[], warnings: string[] = []) => {
    const driver = openStore(root, { options, warn: (message) => warnings.push(message) });
    return [statusOf(driver).get("Data Space Total"), statusOf(driver).get("Metadata Space Total")];
  };
  assertEquals(total([]), ["1 GiB", "8 MiB"]);
  assertEquals(total(["dm.loopdatasize=2G"]), ["2 GiB", "8 MiB"]);
  assertEquals(total(["dm.loopmetadatasize=16M"]), ["2 GiB", "16 MiB"]);
  openStore(root).cleanup();
  const warnings: string[] = [];
  assertEquals(total(["dm.loopdatasize=1G"], warnings), ["2 GiB", "16 MiB"]);
  assertStringIncludes(warnings[0], "is not shrunk");
  openStore(root).cleanup();
  assertEquals(total(["dm.loopdatasize=3G"]), ["3 GiB", "16 MiB"]);
  openStore(root).cleanup();
});

test(
  "the base grows with the option, never shrinks, and layers made later are as large",
  (root) => {
    const driver = openStore(root);
    driver.create("before");
    driver.cleanup();
    const grown = openStore(root, { options: ["dm.basesize=96M"] });
    grown.create("after");
    assertEquals(statusOf(grown).get("Base Device Size"), "96 MiB");
    const size = (id: string) => {
      const path = grown.get(id);
      const blocks = Number(must("stat", "-f", "-c", "%b", path));
      grown.put(id);
      return blocks * Number(must("stat", "-f", "-c", "%S", home(root))) > 0 ? blocks : 0;
    };
    assert(size("after") > size("before") * 1.3);
    grown.cleanup();
    const shrunk = openStore(root, { options: ["dm.basesize=64M"] });
    const message = refuses("invalid argument", () => shrunk.create("x"));
    assertStringIncludes(message, "dm.basesize");
    shrunk.cleanup();
  },
  "both",
);

test("given devices make the pool", (root) => {
  Deno.mkdirSync(root, { recursive: true });
  using data = loopDevice(`${root}/data.img`, 512 << 20);
  using meta = loopDevice(`${root}/meta.img`, 8 << 20);
  const options = [`dm.datadev=${data.path}`, `dm.metadatadev=${meta.path}`, "dm.blocksize=128K"];
  const driver = openStore(root, { options });
  fill(driver, "layer", (path) => Deno.writeTextFileSync(`${path}/file`, "x"));
  const status = statusOf(driver);
  assertEquals([status.get("Data file"), status.get("Metadata file")], [data.path, meta.path]);
  assertEquals([status.get("Data loop file"), status.get("Pool Blocksize")], [
    undefined,
    "128 KiB",
  ]);
  assertEquals(status.get("Data Space Total"), "512 MiB");
  // Another block size is for another pool.
  driver.cleanup();
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const again = openStore(root, { options: [...options.slice(0, 2), "dm.blocksize=256K"], warn });
  assert(treeOf(again, "layer").has("/file"));
  assertStringIncludes(warnings[0], "block size of 131072");
  // Without the options it is somebody else's pool; with a wrong device, nothing at all.
  const message = refuses("incompatible", () => openStore(root).create("x"));
  assertStringIncludes(message, "is made of device");
  again.cleanup();
  refuses(
    "invalid argument",
    () => openStore(root, { options: ["dm.datadev=/dev/null"] }).create("x"),
  );
  refuses(
    "invalid argument",
    () => openStore(root, { options: ["dm.datadev=/dev/nix"] }).create("x"),
  );
  openStore(root, { options }).cleanup();
});

test("a given pool is used and left as it is; one in use by others is refused", (root) => {
  Deno.mkdirSync(root, { recursive: true });
  using data = loopDevice(`${root}/data.img`, 256 << 20);
  using meta = loopDevice(`${root}/meta.img`, 8 << 20);
  const name = `veneer-test-${Deno.pid}`;
  const table = `0 524288 thin-pool ${meta.path} ${data.path} 128 0 1 skip_block_zeroing`;
  must("dmsetup", "create", name, "--table", table);
  try {
    const options = [`dm.thinpooldev=/dev/mapper/${name}`];
    const driver = openStore(root, { options });
    fill(driver, "layer", (path) => Deno.writeTextFileSync(`${path}/file`, "x"));
    assertEquals(statusOf(driver).get("Pool Name"), name);
    driver.cleanup();
    assertNoDevices(undefined, [name]); // The loop devices are the case's own.
    assert(treeOf(openStore(root, { options }), "layer").has("/file"));
    openStore(root, { options }).cleanup();

    const other = openStore(`${root}/other`, { options });
    const message = refuses("incompatible", () => other.create("x"));
    assertStringIncludes(message, "in use by something else");
    const none = openStore(`${root}/third`, { options: ["dm.thinpooldev=nix"] });
    assertStringIncludes(refuses("not supported", () => none.create("x")), "no such device");
  } finally {
    must("dmsetup", "remove", "--retry", name);
  }
});

test("a device of the pool's name that is no pool is not touched", (root) => {
  const driver = openStore(root);
  const { dev, ino } = Deno.statSync(home(root));
  const name = `docker-${(dev >> 8) & 0xfff}:${dev & 0xff}-${ino}-pool`;
  must("dmsetup", "create", name, "--table", "0 2048 error");
  const message = refuses("incompatible", () => driver.create("x"));
  assertStringIncludes(message, "is a error, not a thin-pool");
  must("dmsetup", "remove", name);
  driver.create("x");
  driver.cleanup();
});

test("a pool that is full refuses layers, and takes them when there is room again", (root) => {
  const options = ["dm.loopdatasize=140M", "dm.min_free_space=30%", "dm.when_full=error"];
  const driver = openStore(root, { options });
  driver.create("small");
  driver.create("large");
  const path = driver.get("large");
  writeZeros(`${path}/file`, 45);
  must("sync", "-f", path);
  writeZeros(`${driver.get("small")}/file`, 45);
  must("sync", "-f", `${home(root)}/mnt/small`);
  driver.put("small");
  driver.put("large");
  const message = refuses("limit exceeded", () => driver.create("more"));
  assertMatch(message, /of data free, and dm\.min_free_space requires 42 MiB; remove layers/);
  assertEquals(driver.layers().map(({ id }) => id), ["large", "small"]);
  driver.remove("large");
  driver.create("more");
  Deno.writeTextFileSync(`${driver.get("more")}/file`, "x");
  driver.put("more");

  // Beyond the last block: the write fails, the pool and its layers go on.
  const full = openStore(root, { options: [...options.slice(0, 1), "dm.min_free_space=0%"] });
  full.create("fills");
  const fills = full.get("fills");
  writeZeros(`${fills}/file`, 50);
  run("sync", "-f", fills);
  const more = full.get("more");
  const big = ["dd", "if=/dev/zero", `of=${more}/big`, "bs=1M", "count=50", "conv=fsync"] as const;
  assert(!run(...big).success);
  full.put("more");
  full.put("fills");
  refuses("limit exceeded", () =>
    full.create("no room"
      .replace(" ", "-")));
  full.remove("fills");
  full.remove("more");
  full.create("room");
  writeZeros(`${full.get("room")}/file`, 20);
  must("sync", "-f", `${home(root)}/mnt/room`);
  full.put("room");
  full.cleanup();
});

test("metadata that is nearly full refuses layers", (root) => {
  const options = ["dm.loopmetadatasize=2M", "dm.min_free_space=60%"];
  const driver = openStore(root, { options });
  driver.create("layer");
  const metadataUsed = () => statusOf(driver).get("Metadata Space Used");
  let made = 0, message = "";
  for (; made < 400 && message === ""; made++) {
    try {
      driver.create(`layer-${made}`, { parent: "layer" });
      Deno.writeFileSync(`${driver.get(`layer-${made}`)}/file`, new Uint8Array(128 << 10));
      driver.put(`layer-${made}`);
    } catch (error) {
      message = refuses("limit exceeded", () => {
        throw error;
      });
    }
  }
  assertMatch(
    message,
    /of metadata free, and dm\.min_free_space requires 1.199 MiB/,
    metadataUsed(),
  );
  assert(made > 5, `${made}`);
  for (let i = 0; i < made - 1; i++) driver.remove(`layer-${i}`);
  driver.create("again", { parent: "layer" });
  driver.cleanup();
});

test("removing a layer gives its space back to the image", (root) => {
  const driver = openStore(root);
  const blocks = () => Deno.statSync(`${home(root)}/devicemapper/data`).blocks! * 512;
  fill(driver, "layer", (path) => {
    Deno.writeFileSync(`${path}/file`, crypto.getRandomValues(new Uint8Array(65536)));
    must("dd", "if=/dev/urandom", `of=${path}/big`, "bs=1M", "count=30", "status=none");
  });
  must("sync", "-f", root);
  const before = blocks();
  driver.remove("layer");
  must("sync", "-f", root);
  assert(before - blocks() > 28 << 20, `${before} ${blocks()}`);
  driver.cleanup();
});

test("a base that a crash left without a file system is made anew", (root) => {
  const driver = openStore(root);
  driver.create("first");
  driver.remove("first");
  driver.cleanup();
  const record = JSON.parse(Deno.readTextFileSync(metadata(root, "base")));
  Deno.writeTextFileSync(metadata(root, "base"), JSON.stringify({ ...record, initialized: false }));
  const again = openStore(root);
  fill(again, "layer", (path) => Deno.writeTextFileSync(`${path}/file`, "x"));
  const now = JSON.parse(Deno.readTextFileSync(metadata(root, "base")));
  assertEquals([now.initialized, now.transaction_id > record.transaction_id], [true, true]);
  again.cleanup();
});

test("an old mkfs, which knows fewer options, will do; where there is none, that is said", (root) => {
  const bin = `${root}/bin`, real = must("sh", "-c", "command -v mkfs.ext4").trim();
  Deno.mkdirSync(bin, { recursive: true });
  const path = Deno.env.get("PATH")!;
  const old = (...unknown: string[]) =>
    Deno.writeTextFileSync(
      `${bin}/mkfs.ext4`,
      `#!/bin/sh\ncase "$*" in ${unknown.map((word) => `*${word}*`).join("|")})` +
        ` echo "bad option" >&2; exit 1 ;; esac\necho "$*" >>${bin}/ran\nexec ${real} "$@"\n`,
      { mode: 0o755 },
    );
  const create = (store: string) => {
    const driver = openStore(`${root}/${store}`, { options: ["dm.mkfsarg=-m 3  -L label"] });
    try {
      driver.create("layer");
    } finally {
      driver.cleanup();
    }
  };
  try {
    Deno.env.set("PATH", `${bin}:${path}`);
    old("lazy_journal_init");
    create("old");
    old("lazy_journal_init", "lazy_itable_init");
    create("older");
    assertEquals(
      Deno.readTextFileSync(`${bin}/ran`).replaceAll(/ \/dev\/\S+/g, ""),
      "-q -F -E discard,lazy_itable_init=0 -m 3 -L label\n-q -F -E discard -m 3 -L label\n",
    );
    old("discard");
    assertMatch(refuses("failed", () => create("none")), /^mkfs\.ext4 .* exit 1: bad option$/);
    // It is looked for there too, whatever the path says.
    must("mount", "-t", "tmpfs", "none", "/usr/sbin");
    try {
      Deno.env.set("PATH", "/nowhere");
      const message = refuses("not supported", () => openStore(`${root}/none`).create("layer"));
      assertEquals(message, "there is no mkfs.ext4; install e2fsprogs");
    } finally {
      Deno.env.set("PATH", path);
      must("umount", "/usr/sbin");
    }
  } finally {
    Deno.env.set("PATH", path);
  }
  openStore(`${root}/none`).cleanup();
});

test("another pool below the same records is noticed", (root) => {
  const driver = openStore(root);
  driver.create("layer");
  driver.cleanup();
  const set = metadata(root, "deviceset-metadata");
  const text = Deno.readTextFileSync(set);
  const uuid = crypto.randomUUID();
  Deno.writeTextFileSync(
    set,
    text.replace(/"BaseDeviceUUID":"[^"]*"/, `"BaseDeviceUUID":"${uuid}"`),
  );
  const message = refuses("incompatible", () => openStore(root).get("layer"));
  assertStringIncludes(message, `${uuid} is recorded`);
  Deno.writeTextFileSync(set, text.replace('"ext4"', '"xfs"'));
  const mismatch = refuses("incompatible", () => openStore(root).get("layer"));
  assertStringIncludes(mismatch, "has ext4, and xfs is recorded");
  Deno.writeTextFileSync(set, text.replace(/"BaseDeviceUUID":"[^"]*"/, '"BaseDeviceUUID":""'));
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const again = openStore(root, { options: ["dm.fs=xfs"], warn });
  again.get("layer");
  again.put("layer");
  assertEquals(Deno.readTextFileSync(set), text);
  assertEquals(warnings, ["the base device has ext4; dm.fs=xfs is for a new store"]);
  again.cleanup();
});

test("a truncated record is one error; the rest of the store works", (root) => {
  const driver = openStore(root);
  for (const id of ["whole", "cut"]) {
    fill(driver, id, (path) => Deno.writeTextFileSync(`${path}/file`, id));
  }
  driver.cleanup();
  const path = metadata(root, "cut");
  const text = Deno.readTextFileSync(path);
  Deno.writeTextFileSync(path, text.slice(0, 20));
  const again = openStore(root);
  for (
    const call of [
      () => again.get("cut"),
      () => again.getMetadata("cut"),
      () => again.remove("cut"),
    ]
  ) {
    const message = refuses("corrupt store", call);
    assertStringIncludes(message, path);
  }
  assertEquals(again.layers().map(({ id }) => id), ["cut", "whole"]);
  assert(treeOf(again, "whole").has("/file"));
  again.create("child", { parent: "whole" });
  again.remove("child");
  again.create("other");
  assertEquals(again.getMetadata("other").get("DeviceId"), "4");
  Deno.writeTextFileSync(path, text);
  assert(treeOf(again, "cut").has("/file"));
  again.cleanup();
});

test("an old store's json is converted; a deleted one is one error", (root) => {
  const driver = openStore(root);
  fill(driver, "layer", (path) => Deno.writeTextFileSync(`${path}/file`, "old"));
  driver.cleanup();
  const records = Object.fromEntries(["base", "layer"].map((name) => {
    const { deleted: _, ...old } = JSON.parse(Deno.readTextFileSync(metadata(root, name)));
    return [name === "base" ? "" : name, old];
  }));
  const lost = { ...records.layer, device_id: 77, transaction_id: 99 };
  Deno.removeSync(`${home(root)}/metadata`, { recursive: true });
  Deno.removeSync(`${home(root)}/.veneer`, { recursive: true });

  const message = refuses("corrupt store", () => openStore(root).create("x"));
  assertMatch(message, /is at transaction 2 .* records no device; restore the records/);

  const json = `${home(root)}/devicemapper/json`;
  Deno.writeTextFileSync(json, JSON.stringify({ Devices: { ...records, lost } }));
  const again = openStore(root);
  again.create("new");
  assertEquals(again.layers().map(({ id, parent }) => [id, parent]), [
    ["layer", undefined],
    ["new", ""],
  ]);
  assert(treeOf(again, "layer").has("/file"));
  assert(Deno.statSync(`${json}.migrated`).isFile);
  again.create("child", { parent: "layer" });
  assert(treeOf(again, "child").has("/file"));
  again.remove("child");
  again.remove("layer");
  again.cleanup();
});

test("a lost image is one error", (root) => {
  const driver = openStore(root);
  driver.create("layer");
  driver.cleanup();
  const image = `${home(root)}/devicemapper/data`;
  Deno.renameSync(image, `${image}.away`);
  const message = refuses("corrupt store", () => openStore(root).get("layer"));
  assertStringIncludes(message, `${image} is missing`);
  Deno.renameSync(`${image}.away`, image);
  const again = openStore(root);
  again.get("layer");
  again.put("layer");
  again.cleanup();
});

test("devices of transactions that the pool never reached are dropped", (root) => {
  const driver = openStore(root);
  driver.create("kept");
  driver.cleanup();
  const record = JSON.parse(Deno.readTextFileSync(metadata(root, "kept")));
  const beyond = { ...record, device_id: 9, transaction_id: record.transaction_id + 5 };
  Deno.writeTextFileSync(metadata(root, "lost"), JSON.stringify(beyond));
  const warnings: string[] = [];
  const again = openStore(root, { warn: (message) => warnings.push(message) });
  again.create("new");
  assertEquals(again.layers().map(({ id }) => id), ["kept", "new"]);
  assertStringIncludes(warnings[0], "lost");
  again.cleanup();
});

test("xfs is told how often to try again", (root) => {
  const driver = openStore(root, { options: ["dm.xfs_nospace_max_retries=3"] });
  driver.create("layer");
  const { dev } = Deno.statSync(driver.get("layer"));
  const name = Deno.realPathSync(`/sys/dev/block/${dev >> 8}:${dev & 0xff}`).split("/").at(-1);
  const file = `/sys/fs/xfs/${name}/error/metadata/ENOSPC/max_retries`;
  assertEquals(Deno.readTextFileSync(file).trim(), "3");
  driver.put("layer");
  driver.cleanup();
}, "xfs");

test("dm.mountopt is how layers are mounted", (root) => {
  const driver = openStore(root, { options: ["dm.mountopt=nodev,noatime"] });
  driver.create("layer");
  const path = driver.get("layer");
  const options = must(
    "findmnt",
    "-n",
    "-o",
    "OPTIONS",
    "--mountpoint",
    path.replace(/\/rootfs$/, ""),
  );
  for (const option of ["nodev", "noatime", "discard"]) assertStringIncludes(options, option);
  assertEquals(Deno.readTextFileSync(path.replace(/rootfs$/, "id")), "layer");
  assert(isMountPoint(path.replace(/\/rootfs$/, "")));
  driver.put("layer");
  driver.cleanup();
}, "both");
