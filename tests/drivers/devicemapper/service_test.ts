/** The service on devicemapper, with an engine that has snapshots mounted. */
// @runs on guest ext4

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import type { GrpcClient } from "../../services/grpc_client.ts";
import { TestService, until } from "../../services/service_support.ts";
import { cleanup, commit, make, ofKey, readMounts } from "../../services/snapshots_client.ts";
import { must, needs, run } from "../../support/cases.ts";
import { veneer } from "../../support/commands.ts";
import { assertNoDevices, deviceNames, lacking, SMALL } from "./support.ts";

const OK = 0, NOT_FOUND = 5, RESOURCE_EXHAUSTED = 8, FAILED_PRECONDITION = 9;

/** A service on a store of a small size. */
const start = (...options: string[]) =>
  TestService.on("devicemapper", ...[...SMALL, ...options].flatMap((option) => ["-o", option]));

async function succeed(client: GrpcClient, method: string, request: readonly number[]) {
  const reply = await client.call(method, request);
  assertEquals([reply.status, reply.message], [OK, ""], method);
  return reply.messages[0];
}

/** Makes a snapshot and mounts it as containerd does; returns where. */
async function mounted(
  service: TestService,
  client: GrpcClient,
  method: "Prepare" | "View",
  key: string,
  parent = "",
): Promise<string> {
  const [mount] = readMounts(await succeed(client, method, make(key, parent)));
  const target = join(service.directory.path, key);
  Deno.mkdirSync(target);
  must("mount", "-t", mount.type, "-o", mount.options.join(","), mount.source, target);
  return target;
}

/** The devices of layers. */
const layerDevices = () => deviceNames().filter((name) => !name.endsWith("-pool"));

const names = (directory: string) =>
  Array.from(Deno.readDirSync(directory), ({ name }) => name)
    .filter((name) => name !== "lost+found").sort();

needs(
  lacking,
  "devicemapper service: what is committed while it is mounted never changes again",
  async () => {
    await using service = await start();
    using client = await service.connect();
    const active = await mounted(service, client, "Prepare", "active");
    Deno.writeTextFileSync(join(active, "before"), "1");
    await succeed(client, "Commit", commit("base", "active"));
    Deno.writeTextFileSync(join(active, "after"), "2");
    const view = await mounted(service, client, "View", "view", "base");
    assertEquals(names(view), ["before"]);
    assertEquals(Deno.readTextFileSync(join(view, "before")), "1");
    const child = await mounted(service, client, "Prepare", "child", "base");
    assertEquals(names(child), ["before"]);

    // The device that was written to cannot go before it is unmounted, and does then.
    const refused = await client.call("Cleanup", cleanup());
    assertEquals(refused.status, FAILED_PRECONDITION);
    assertMatch(refused.message, /was not deleted.*is open/);
    for (const target of [active, view, child]) must("umount", target);
    for (const key of ["view", "child", "base"]) await succeed(client, "Remove", ofKey(key));
    await until(() => layerDevices().length === 0, "the devices to be deleted");
    await succeed(client, "Cleanup", cleanup());
    assertEquals(names(join(service.home, "metadata")), ["base", "deviceset-metadata"]);
    await release(service);
  },
);

needs(lacking, "devicemapper service: what is removed while it is mounted goes later", async () => {
  await using service = await start();
  using client = await service.connect();
  const timed = async () => {
    const began = performance.now();
    await succeed(client, "Prepare", make("active"));
    await succeed(client, "Remove", ofKey("active"));
    return performance.now() - began;
  };
  const usual = await timed();
  const active = await mounted(service, client, "Prepare", "active");
  await succeed(client, "Remove", ofKey("active"));
  Deno.writeTextFileSync(join(active, "file"), "it can still be used");
  await until(() => layerDevices().length === 1, "the first device to be deleted");
  assertEquals(layerDevices().length, 1);
  // While it waits, others are made and removed.
  const beside = await timed();
  assert(beside < 5000 + 5 * usual, `${beside} ms beside it, ${usual} before`);
  must("umount", active);
  await until(() => layerDevices().length === 0, "the device to be deleted");
  await release(service);
});

needs(
  lacking,
  "devicemapper service: a full pool is RESOURCE_EXHAUSTED, and nothing half made",
  async () => {
    const pool = ["dm.basesize=96M", "dm.loopdatasize=64M", "dm.min_free_space=10%"];
    await using service = await start(...pool, "dm.when_full=error");
    using client = await service.connect();
    await succeed(client, "Prepare", make("a"));
    await succeed(client, "Commit", commit("base", "a"));
    const full = await mounted(service, client, "Prepare", "full", "base");
    const dd = [
      "dd",
      "if=/dev/zero",
      `of=${full}/file`,
      "bs=1M",
      "count=200",
      "conv=fsync",
    ] as const;
    assert(!run(...dd).success, "the pool is smaller");
    const records = () => names(join(service.home, "metadata"));
    const before = records(), devices = layerDevices();
    for (const method of ["Prepare", "View"]) {
      const { status, message } = await client.call(method, make("more", "base"));
      assertEquals(status, RESOURCE_EXHAUSTED, message);
      assertMatch(message, /pool|space/);
      assertEquals((await client.call("Stat", ofKey("more"))).status, NOT_FOUND);
    }
    assertEquals([records(), layerDevices()], [before, devices]);
    must("umount", full);
    await succeed(client, "Remove", ofKey("full"));
    await succeed(client, "Cleanup", cleanup());
    await succeed(client, "Prepare", make("more", "base"));
    for (const key of ["more", "base"]) await succeed(client, "Remove", ofKey(key));
    await succeed(client, "Cleanup", cleanup());
    await release(service, pool);
  },
);

/** Takes the pool of an empty store down. */
async function release(service: TestService, options: readonly string[] = []): Promise<void> {
  assertEquals(await service.process.end(), 0);
  const { code, stderr } = veneer(
    ...["--root", service.root, "--driver", "devicemapper", "snapshot", "cleanup"],
    ...["--service", "veneer", ...[...SMALL, ...options].flatMap((option) => ["-o", option])],
  );
  assertEquals([code, stderr], [0, ""]);
  assertNoDevices();
}
