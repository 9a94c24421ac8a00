/** devicemapper's devices while somebody has them open, and while several processes use one store. */
// @runs on guest ext4
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { deviceInfo } from "../../../ffi/devmapper.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { fill } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { must, needs, run } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { examine } from "../../../drivers/devicemapper/examine.ts";
import { assertNoDevices, FILE_SYSTEM, lacking, openSet, openStore } from "./support.ts";

const once = lacking ?? (FILE_SYSTEM === "xfs" ? "it ran on ext4" : undefined);

function test(name: string, body: (root: string) => void | Promise<void>): void {
  needs(once, `devicemapper in use: ${name}`, async () => {
    using dir = storeDir();
    await body(`${dir.path}/root`);
    assertNoDevices(dir.path);
  });
}

/** A process that has a file or directory open until disposed of. */
async function holder(path: string): Promise<AsyncDisposable & { readonly pid: number }> {
  const child = new Deno.Command("sh", {
    args: ["-c", 'exec 3<"$0"; echo ready; exec sleep 600', path],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await sleeps(child);
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    },
  };
}

/** Waits until a process runs the program by which messages name it. */
async function sleeps({ pid }: Deno.ChildProcess): Promise<void> {
  while (Deno.readTextFileSync(`/proc/${pid}/comm`) !== "sleep\n") await pause();
}

/** Without deferral a busy device is an error. */
const NOW = ["dm.use_deferred_removal=false"];

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

/** Waits until a device is: its last user's end is a moment after it was told to end. */
async function gone(name: string): Promise<void> {
  while (deviceInfo(name) !== undefined) await pause();
}

test("a busy device is not removed, and the error names who has it", async (root) => {
  const set = openSet(root, { options: NOW, patience: 200 });
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
  const set = openSet(root, { options: NOW, patience: 200 });
  set.add("layer", "");
  const device = set.activate("layer");
  const child = new Deno.Command("unshare", {
    args: ["-m", "sh", "-c", 'mount "$0" /mnt && echo ready && exec sleep 600', device],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await sleeps(child);
  const error = assertThrows(() => set.deactivate("layer"), VeneerError);
  assertMatch(error.message, /in use by a mount at \/mnt \(seen by sleep \(pid \d+\)\)/);
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  set.remove("layer");
  set.shutdown();
});

test("a busy mount stays, or is detached where told; its layer stays until it is free", async (root) => {
  const warnings: string[] = [];
  const driver = openStore(root, { options: NOW, warn: (message) => warnings.push(message) });
  driver.create("layer");
  const path = driver.get("layer");
  {
    await using _other = await holder(path);
    const { message } = assertFails("in use", () => driver.put("layer"));
    assertStringIncludes(message, "sleep (pid");
    driver.put("layer", { lazy: true });
    assertStringIncludes(warnings[0], "it stays active");
    assertEquals(driver.layer("layer").references, 0);
    // It can be had again meanwhile.
    assertEquals(driver.get("layer"), path);
    driver.put("layer");
  }
  driver.remove("layer");
  driver.cleanup();
});

test("deferral is on where the kernel has it, and can be chosen", (root) => {
  const lines = (...options: string[]) => {
    const status = new Map(openStore(root, { options }).status());
    return ["Removal Enabled", "Deletion Enabled", "Deleted Device Count"]
      .map((name) => status.get(`Deferred ${name}`));
  };
  assertEquals(lines(), ["true", "true", "0"]);
  assertEquals(lines(...NOW), ["false", "false", "0"]);
  assertEquals(lines("dm.use_deferred_deletion=false"), ["true", "false", "0"]);
  openStore(root).cleanup();
});

test("a busy mount is detached where told; its device goes with its last user", async (root) => {
  const warnings: string[] = [];
  const driver = openStore(root, { warn: (message) => warnings.push(message) });
  driver.create("layer");
  const name = driver.getMetadata("layer").get("DeviceName")!;
  const path = driver.get("layer");
  {
    await using _other = await holder(path);
    driver.put("layer", { lazy: true });
    assertEquals([warnings, deviceInfo(name)?.deferredRemove], [[], true]);
  }
  await gone(name);
  assertEquals(driver.get("layer"), path);
  driver.put("layer");
  assertEquals(deviceInfo(name), undefined);
  driver.remove("layer");
  driver.cleanup();
});

test("shutdown: a busy device goes with its last user, its pool and their images too", async (root) => {
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const set = openSet(root, { warn, patience: 200 }),
    other = openSet(root, { warn, patience: 200 });
  set.add("layer", "");
  const device = set.activate("layer");
  assertEquals(other.list(), ["layer"]);
  other.usage("layer");
  {
    await using _other = await holder(device);
    set.shutdown();
    assertMatch(warnings.join(), /^device \S+-layer has been in use by sleep \(pid \d+\) for 1 s/);
    assertEquals(deviceInfo(set.pool.name)?.deferredRemove, true);
    // Who uses the store meanwhile keeps the pool, also where it was up for him already.
    other.add("child", "layer");
    assertEquals(deviceInfo(set.pool.name)?.deferredRemove, false);
    other.shutdown();
    openSet(root).start();
    assertEquals(deviceInfo(set.pool.name)?.deferredRemove, false);
    set.shutdown();
    assertEquals(deviceInfo(set.pool.name)?.deferredRemove, true);
  }
  await gone(set.pool.name);
  assertNoDevices(root);
  set.add("more", "child");
  assertEquals(set.list(), ["child", "layer", "more"]);
  set.shutdown();
});

test("a snapshot of a device that goes with its last user is whole", async (root) => {
  const driver = openStore(root, { warn: () => {} });
  driver.create("layer");
  const path = driver.get("layer");
  Deno.writeTextFileSync(`${path}/file`, "not synced");
  {
    await using _other = await holder(path);
    driver.put("layer", { lazy: true });
    driver.create("child", { parent: "layer" });
  }
  assertEquals(Deno.readTextFileSync(`${driver.get("child")}/file`), "not synced");
  driver.put("child");
  driver.cleanup();
});

test("deferred removal: a busy device goes with its last user, or is kept by the next activation", async (root) => {
  const set = openSet(root, { patience: 200 });
  set.add("layer", "");
  const name = set.names.device("layer");
  const device = set.activate("layer");
  {
    await using _other = await holder(device);
    set.deactivate("layer");
    assertEquals(deviceInfo(name)?.deferredRemove, true);
    assertEquals(set.activate("layer"), device);
    assertEquals(deviceInfo(name)?.deferredRemove, false);
    must("dd", `if=${device}`, "of=/dev/null", "bs=4k", "count=1", "status=none");
    set.deactivate("layer");
  }
  await gone(name);
  set.shutdown();
});

test("without deferred deletion a busy layer is not removed", async (root) => {
  const set = openSet(root, { options: ["dm.use_deferred_deletion=false"], patience: 200 });
  set.add("layer", "");
  const device = set.activate("layer");
  {
    await using _other = await holder(device);
    set.deactivate("layer");
    const error = assertThrows(() => set.remove("layer"), VeneerError);
    assertMatch(error.message, /in use by sleep \(pid \d+\)/);
    assertEquals([error.code, set.has("layer")], ["in use", true]);
  }
  set.remove("layer");
  assertEquals([set.has("layer"), set.list()], [false, []]);
  set.shutdown();
});

test("deferred deletion: a busy layer is gone at once, and deleted when it is free", async (root) => {
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const set = openSet(root, { patience: 200, warn });
  set.add("layer", "");
  const { deviceId } = set.describe("layer");
  const device = set.activate("layer");
  {
    await using _other = await holder(device);
    set.remove("layer");
    assertEquals([set.has("layer"), set.list(), set.status().deleted], [false, [], 1]);
    assertMatch(
      warnings.join(),
      /in use by sleep \(pid \d+\) for 0\.2 s.*layer layer is deleted after that$/,
    );
  }
  const next = openSet(root);
  next.add("other", "");
  assertEquals([next.status().deleted, next.list()], [0, ["other"]]);
  next.add("reused", "");
  assert([next.describe("other").deviceId, next.describe("reused").deviceId].includes(deviceId));
  next.shutdown();
});

test("deferred deletion: the process that could not delete a layer does so when it is free", async (root) => {
  const options = ["dm.min_free_space=0%"];
  const driver = openStore(root, { options, warn: () => {} });
  fill(driver, "layer", (path) => {
    Deno.writeFileSync(`${path}/file`, new Uint8Array(10 << 20));
    must("sync", "-f", path);
  });
  const status = () => new Map(driver.status());
  const used = status().get("Data Space Used")!;
  const path = driver.get("layer");
  {
    await using _other = await holder(path);
    driver.put("layer", { lazy: true });
    driver.remove("layer");
    assertEquals([driver.exists("layer"), driver.layers()], [false, []]);
    assertEquals(status().get("Deferred Deleted Device Count"), "1");
    assertEquals(status().get("Data Space Used"), used);
  }
  assertEquals(status().get("Deferred Deleted Device Count"), "0");
  assert(parseFloat(status().get("Data Space Used")!) < parseFloat(used) - 9);
  driver.cleanup();
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
  const worker = `${import.meta.dirname}/worker.ts`;
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
  const set = openSet(root, { patience: 200, warn: () => {} });
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
