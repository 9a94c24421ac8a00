/** Pools that are only read, and the moment in which the kernel lets go of them. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { ActivePool, PoolOfFiles } from "../../../drivers/devicemapper/frozen_pool.ts";
import { deviceInfo } from "../../../ffi/devmapper.ts";
import { readNames } from "../../../ffi/directory.ts";
import { close, O_RDONLY, open } from "../../../ffi/files.ts";
import { must, needs, tempDir } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { storeDir } from "../../support/store_dir.ts";
import { devicePool, lacksPool } from "./device_pool.ts";
import { assertNoDevices, deviceNames, lacking, openSet } from "./support.ts";

const SIZE = 64 << 20;

const lacks = lacking ?? lacksPool();

const nodeOf = (name: string) => `/dev/mapper/${name}`;

/** Runs `use` on a thin device of a pool, which exists until nobody has it open any more. */
async function withThin<T>(
  pool: string,
  deviceId: number,
  use: (node: string) => T | Promise<T>,
): Promise<T> {
  const name = `${pool}-thin`, table = `0 ${SIZE / 512} thin ${nodeOf(pool)} ${deviceId}`;
  must("dmsetup", "create", name, "--noudevsync", "--table", table);
  try {
    return await use(nodeOf(name));
  } finally {
    must("dmsetup", "remove", "--noudevsync", "--deferred", name);
  }
}

/** Has a device open for a while, less than anything waits, which begins before this returns. */
async function useForAWhile(path: string): Promise<AsyncDisposable> {
  const child = new Deno.Command("sh", {
    args: ["-c", `exec 3<"$0"; echo; sleep 0.5`, path],
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  await output.read();
  return {
    async [Symbol.asyncDispose]() {
      await output.cancel();
      await child.status;
    },
  };
}

needs(lacks, "a pool is free as soon as it has been read", async () => {
  using dir = tempDir("frozen-");
  using pool = devicePool("frozen-pool");
  must("dmsetup", "message", pool.name, "0", "create_thin 1");
  await withThin(pool.name, 1, (node) => {
    must("mkfs.ext4", "-q", node);
    must("mount", node, dir.path);
    Deno.mkdirSync(`${dir.path}/rootfs`);
    must("umount", dir.path);
  });
  const left: unknown[] = [];
  for (let turn = 0; turn < 40; turn++) {
    {
      using scope = new DisposableStack();
      const active = scope.use(new ActivePool(pool.name, dir.path));
      readNames(active.mount({ deviceId: 1, size: SIZE }, "layer one", scope));
    }
    left.push(deviceInfo(pool.name)?.openCount);
  }
  assertEquals(left, left.map(() => 0));
});

needs(lacks, "a pool is read as soon as its last device is gone, and not before", async () => {
  using dir = tempDir("frozen-");
  using pool = devicePool("frozen-pool");
  must("dmsetup", "message", pool.name, "0", "create_thin 1");
  await withThin(pool.name, 1, () => {
    assertFails("in use", () => new ActivePool(pool.name, dir.path));
  });
  await using _user = await withThin(pool.name, 1, (node) => useForAWhile(node));
  new ActivePool(pool.name, dir.path)[Symbol.dispose]();
});

needs(lacks, "a pool's files are opened once nobody else writes to them", async () => {
  using dir = storeDir();
  const root = `${dir.path}/root`, set = openSet(root);
  set.add("layer", "");
  set.shutdown();
  const home = `${root}/devicemapper/devicemapper`;
  using scope = new DisposableStack();
  const [metadata, data] = ["metadata", "data"].map((name) => {
    const path = `${home}/${name}`;
    return { path, fd: scope.adopt(open(path, O_RDONLY), close) };
  });
  const openBoth = [
    () => new PoolOfFiles(metadata, data, dir.path)[Symbol.dispose](),
    () => {
      const again = openSet(root);
      again.activate("layer");
      again.shutdown();
    },
  ];
  for (const open of openBoth) {
    const loop = must("losetup", "--find", "--show", metadata.path).trim();
    const other = await useForAWhile(loop);
    must("losetup", "--detach", loop); // when its user has closed it
    open();
    await other[Symbol.asyncDispose]();
  }
  const loop = must("losetup", "--find", "--show", metadata.path).trim();
  try {
    for (const open of openBoth) {
      const { message } = assertFails("in use", open);
      assertEquals(
        message,
        `${metadata.path} is attached to ${loop}; end what uses it, then run losetup --detach ${loop}`,
      );
    }
  } finally {
    must("losetup", "--detach", loop);
  }
  openBoth.forEach((open) => open());
  assertNoDevices(dir.path);
});

needs(lacks, "a device that is open under another name is deleted when it is closed", async () => {
  using dir = storeDir();
  const warnings: string[] = [];
  const set = openSet(`${dir.path}/root`, { warn: (line) => warnings.push(line) });
  set.add("layer", "");
  set.activate("layer");
  const [name] = deviceNames().filter((name) => !name.endsWith("-pool"));
  const table = must("dmsetup", "table", name).trim();
  set.deactivate("layer");
  must("dmsetup", "create", "another-name", "--noudevsync", "--table", table);
  await using _user = await useForAWhile(nodeOf("another-name"));
  must("dmsetup", "remove", "--noudevsync", "--deferred", "another-name");
  set.remove("layer");
  assertEquals([set.has("layer"), warnings], [false, []]);
  set.shutdown();
});
