/** devicemapper's devices while somebody has them open, and while several processes use one store. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { deviceInfo } from "../../ffi/devmapper.ts";
import { VeneerError } from "../../lib/errors.ts";
import { storeDir } from "../drivers/store_dir.ts";
import { must, needs, run } from "../support.ts";
import { examine } from "../../drivers/devicemapper/examine.ts";
import {
  deviceNames,
  FILE_SYSTEM,
  lacking,
  loopFiles,
  openSet,
  openStore,
} from "./devicemapper_support.ts";

const once = lacking ?? (FILE_SYSTEM === "xfs" ? "it ran on ext4" : undefined);

function test(name: string, body: (root: string) => void | Promise<void>): void {
  needs(once, `devicemapper in use: ${name}`, async () => {
    using dir = storeDir();
    await body(`${dir.path}/root`);
    assertEquals(deviceNames(), []);
    assertEquals(loopFiles(dir.path), []);
  });
}

/** A process that has a file or directory open until disposed of. */
async function holder(path: string): Promise<AsyncDisposable & { readonly pid: number }> {
  const child = new Deno.Command("sh", {
    args: ["-c", 'exec 3<"$0"; echo ready; exec sleep 60', path],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  while (Deno.readTextFileSync(`/proc/${child.pid}/comm`) !== "sleep\n") {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    },
  };
}

test("a busy device is not removed, and the error names who has it", async (root) => {
  const set = openSet(root, { patience: 200 });
  set.add("layer", "");
  const device = set.activate("layer");
  {
    await using other = await holder(device);
    const error = assertThrows(() => set.remove("layer"), VeneerError);
    assertEquals(error.code, "in use");
    assertMatch(error.message, new RegExp(`in use by sleep \\(pid ${other.pid}\\) for 0\\.2 s`));
    assertEquals([set.has("layer"), set.isActivated("layer")], [true, true]);
    assertThrows(() => set.deactivate("layer"), VeneerError, "in use");
  }
  set.remove("layer");
  assertEquals(set.has("layer"), false);
  set.shutdown();
});

test("a mount in another namespace is named", async (root) => {
  const set = openSet(root, { patience: 200 });
  set.add("layer", "");
  const device = set.activate("layer");
  const child = new Deno.Command("unshare", {
    args: ["-m", "sh", "-c", 'mount "$0" /mnt && echo ready && exec sleep 60', device],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const error = assertThrows(() => set.deactivate("layer"), VeneerError);
  assertMatch(error.message, /in use by a mount at \/mnt \(seen by sleep \(pid \d+\)\)/);
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  set.remove("layer");
  set.shutdown();
});

test("a busy mount is detached by put, with a warning; its layer stays until it is free", async (root) => {
  const warnings: string[] = [];
  const driver = openStore(root, { warn: (message) => warnings.push(message) });
  driver.create("layer");
  const path = driver.get("layer");
  {
    await using _other = await holder(path);
    driver.put("layer");
    assertStringIncludes(warnings[0], "sleep (pid");
    assertStringIncludes(warnings[1], "it stays active");
    assertEquals(driver.layer("layer").references, 0);
    // It can be had again meanwhile.
    assertEquals(driver.get("layer"), path);
    driver.put("layer");
  }
  driver.remove("layer");
  driver.cleanup();
});

test("deferred removal: a busy device goes with its last user, or is kept by the next activation", async (root) => {
  const set = openSet(root, { options: ["dm.use_deferred_removal=true"], patience: 200 });
  set.add("layer", "");
  const name = set.names.device("layer");
  const device = set.activate("layer");
  {
    await using _other = await holder(device);
    set.deactivate("layer");
    assertEquals(deviceInfo(name)?.deferredRemove, true);
    set.activate("layer");
    assertEquals(deviceInfo(name)?.deferredRemove, false);
    set.deactivate("layer");
  }
  assertEquals(deviceInfo(name), undefined);
  set.shutdown();
});

test("deferred deletion: a busy layer is gone at once, and deleted when it is free", async (root) => {
  const options = ["dm.use_deferred_removal=true", "dm.use_deferred_deletion=true"];
  const set = openSet(root, { options, patience: 200, warn: () => {} });
  set.add("layer", "");
  const { deviceId } = set.describe("layer");
  const device = set.activate("layer");
  {
    await using _other = await holder(device);
    set.remove("layer");
    assertEquals([set.has("layer"), set.list(), set.status().deleted], [false, [], 1]);
  }
  const next = openSet(root, { options });
  next.add("other", "");
  assertEquals([next.status().deleted, next.list()], [0, ["other"]]);
  next.add("reused", "");
  assert([next.describe("other").deviceId, next.describe("reused").deviceId].includes(deviceId));
  next.shutdown();
});

test("a device that a killed process left suspended goes on", (root) => {
  const set = openSet(root);
  set.add("layer", "");
  const device = set.activate("layer");
  must("dmsetup", "suspend", set.names.device("layer"));
  set.records.writeTransaction({ openTransactionId: 3, hash: "new", deviceId: 3 });
  assertEquals(set.has("new"), false);
  assertEquals(deviceInfo(set.names.device("layer"))?.suspended, false);
  must("dd", `if=${device}`, "of=/dev/null", "bs=4k", "count=1", "status=none");
  set.shutdown();
});

test("what libdevmapper logs is passed on, up to the level that is asked for", (root) => {
  const warnings: string[] = [];
  const options = ["dm.libdm_log_level=3"];
  const driver = openStore(root, { options, warn: (message) => warnings.push(message) });
  driver.create("layer");
  const name = driver.getMetadata("layer").get("DeviceName")!;
  // A mapping that was never given a table: removed, and made anew.
  must("dmsetup", "create", name, "--notable");
  driver.get("layer");
  driver.put("layer");
  assertEquals(warnings, []);
  const set = openSet(root);
  const other = set.records.read("layer")!;
  set.records.write("layer", { ...other, deviceId: 4711 });
  const error = assertThrows(() => driver.get("layer"));
  assertStringIncludes(String(error), "No data available");
  assert(
    warnings.some((line) => /^libdevmapper \(3\): .*No data available/.test(line)),
    warnings.join(),
  );
  set.records.write("layer", other);
  driver.cleanup();
});

test("programs started from here do not get the control device", (root) => {
  const driver = openStore(root);
  driver.create("layer");
  const own = run("ls", "-l", `/proc/${Deno.pid}/fd`).stdout;
  assertStringIncludes(own, "/dev/mapper/control");
  assert(!run("ls", "-l", "/proc/self/fd").stdout.includes("control"));
  driver.cleanup();
});

test("doctor finds what there is", (root) => {
  const findings = examine(root);
  assertEquals(findings.filter(({ state }) => state !== "ok"), []);
  assertMatch(findings[0].what, /^libdevmapper 1\.02\.\d+ .*, kernel interface 4\.\d+\.\d+$/);
});

test("processes that make and remove layers at once lose none", async (root) => {
  const driver = openStore(root);
  driver.create("parent");
  const worker = `${import.meta.dirname}/devicemapper_worker.ts`;
  const children = ["a", "b", "c"].map((name) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--no-check", "--quiet", worker, root, name, "12"],
      stdin: "null",
    }).output()
  );
  for (const { success, stderr } of await Promise.all(children)) {
    assert(success, new TextDecoder().decode(stderr));
  }
  const expected = ["a", "b", "c"].flatMap((name) =>
    Array.from({ length: 12 }, (_, i) => `${name}${i}`).filter((_, i) => i % 3 !== 1)
  );
  assertEquals(driver.layers().map(({ id }) => id), [...expected, "parent"].sort());
  for (const id of expected) {
    assertEquals(Deno.readTextFileSync(`${driver.get(id, { readOnly: true })}/own`), id);
    driver.put(id);
  }
  const set = openSet(root);
  const numbers = [...expected, "parent"].map((id) => set.describe(id).deviceId);
  assertEquals(new Set(numbers).size, numbers.length);
  // The base, the parent, 36 layers made, 12 of them removed.
  assertEquals(set.status().pool.transactionId, 2 + 36 + 12);
  driver.cleanup();
});

test("an id whose layer waits for its deletion is free when that is done", async (root) => {
  const options = ["dm.use_deferred_removal=true", "dm.use_deferred_deletion=true"];
  const set = openSet(root, { options, patience: 200, warn: () => {} });
  set.add("layer", "");
  const { deviceId } = set.describe("layer");
  const device = set.activate("layer");
  {
    await using _other = await holder(device);
    set.remove("layer");
    assertEquals(assertThrows(() => set.add("layer", ""), VeneerError).code, "in use");
    assertEquals([set.has("layer"), set.status().deleted], [false, 1]);
  }
  set.add("layer", "");
  assertEquals([set.describe("layer").deviceId, set.status().deleted], [deviceId, 0]);
  set.shutdown();
});
