/**
 * devicemapper killed before every system call of what it does, every task of libdevmapper among them.
 *
 * After each kill another process opens the store: what was there is there, what was being made is there as a
 * whole or not at all, the pool holds exactly the devices that are recorded, its transaction id is that of
 * the last change, nothing is mounted or active, and the store can be used. `make test` takes a sample of the
 * points; all of them are taken where `VENEER_TEST_LONG` is set.
 */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import type { DeviceSet } from "../../../drivers/devicemapper/device_set.ts";
import { EEXIST } from "../../../ffi/errno.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { fill } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { IS_LONG, lacksProgram, mountPoints, needs } from "../../support/cases.ts";
import {
  assertNoDevices,
  deviceNames,
  FILE_SYSTEM,
  lacking,
  openSet,
  openStore,
} from "./support.ts";
import { type Call, counts, killBefore, points, RUNTIME, strace } from "../kill/killer.ts";

const IOCTL = 16;
/** `DM_IOCTL` of linux/dm-ioctl.h: the type of all of device-mapper's requests. */
const DM_IOCTL = 0xfdn;
/** `DM_TARGET_MSG_CMD` of the same: the number of a message to a target. */
const DM_TARGET_MSG = 14n;

const isTask = ({ number, request }: Call) =>
  number === IOCTL && (request >> 8n & 0xffn) === DM_IOCTL;
const isMessage = (call: Call) => isTask(call) && (call.request & 0xffn) === DM_TARGET_MSG;

const child = (by: string, root: string, operation: string) => [
  Deno.execPath(),
  "run",
  "--quiet",
  "--allow-all",
  "--no-check",
  `${import.meta.dirname}/kill_child.ts`,
  by,
  root,
  operation,
];

/** Layers that are in every store; `victim` is what operations are about. */
function prepare(root: string): void {
  const driver = openStore(root);
  fill(driver, "bottom", (path) => Deno.writeTextFileSync(`${path}/file`, "bottom"));
  fill(driver, "victim", (path) => Deno.writeTextFileSync(`${path}/own`, "victim"), "bottom");
}

/** The numbers of the devices that the pool has: those that cannot be made. */
function devicesInPool(set: DeviceSet, most: number): number[] {
  const found: number[] = [];
  for (let id = 1; id <= most; id++) {
    if (set.pool.tryCreateThin(id) === -EEXIST) found.push(id);
    else set.pool.tryDelete(id);
  }
  return found;
}

/**
 * What must hold after any kill.
 *
 * @param others numbers of devices in the pool that no record has
 */
function verify(root: string, operation: string, others: number[] = []): GraphDriver {
  const driver = openStore(root, { warn: () => {} });
  const set = openSet(root, { warn: () => {} });
  if (operation.endsWith("mount")) { // Whatever is left of it, it can be had, and given back.
    driver.get("bottom");
    while (driver.layer("bottom").references > 0) driver.put("bottom");
  }
  const ids = driver.layers().map(({ id }) => id);
  const status = set.status(); // Whatever was left is at its end now.
  assertEquals(driver.layers().map(({ id }) => id), ids, "what is listed stays");

  const certain = operation === "start"
    ? []
    : operation === "remove"
    ? ["bottom"]
    : ["bottom", "victim"];
  for (const id of certain) assert(ids.includes(id), `${id} is lost`);
  for (const id of ids) assert(["bottom", "victim", "new"].includes(id), `${id} came from nowhere`);

  const records = ["", ...ids].flatMap((hash) => set.records.read(hash) ?? []);
  const numbers = [...records.map(({ deviceId }) => deviceId), ...others].sort((a, b) => a - b);
  assertEquals(devicesInPool(set, 12), numbers, "the pool's devices are those recorded");
  for (const { transactionId, deleted } of records) {
    assert(transactionId <= status.pool.transactionId, "no record is of a transaction to come");
    assertEquals(deleted, false);
  }
  assertEquals(set.records.readTransaction(), undefined);
  assertEquals([...Deno.readDirSync(`${driver.home}/.veneer/staging`)].map(({ name }) => name), []);
  assertEquals(deviceNames(), [set.pool.name], "no layer is active");
  assertEquals(mountPoints(root).filter((path) => path !== driver.home), []);

  for (const id of ids) {
    const names = [...Deno.readDirSync(driver.get(id))].map(({ name }) => name).sort();
    driver.put(id);
    const own = id === "victim" && !(operation === "reset" && names.length === 1) ? ["own"] : [];
    assertEquals(names, operation === "start" ? [] : ["file", ...own], id);
  }
  return driver;
}

/** Makes the store what it was before, with the device numbers that it had. */
function restore(driver: GraphDriver, root: string): void {
  for (const id of ["new", "victim"]) if (driver.exists(id)) driver.remove(id);
  fill(driver, "victim", (path) => Deno.writeTextFileSync(`${path}/own`, "victim"), "bottom");
  driver.cleanup();
  assertNoDevices(root);
}

const lacks = lacking ?? lacksProgram("strace");

for (const operation of ["create", "remove", "grow", "reset", "mount", "unmount", "start"]) {
  needs(
    lacks,
    `devicemapper with ${FILE_SYSTEM}: killed before every system call of ${operation}`,
    () => {
      using dir = storeDir();
      const store = () => {
        const root = `${dir.path}/root`;
        if (operation !== "start") return root;
        Deno.mkdirSync(root, { recursive: true });
        return Deno.makeTempDirSync({ dir: root });
      };
      let root = store();
      const begin = () => {
        if (operation === "start") root = store();
      };
      const end = () => {
        const driver = verify(root, operation);
        if (operation !== "start") return restore(driver, root);
        driver.create("again", driver.exists("new") ? { parent: "new" } : {});
        driver.cleanup();
        assertNoDevices(root);
        Deno.removeSync(root, { recursive: true });
      };

      if (operation !== "start") {
        prepare(root);
        restore(openStore(root), root);
      }
      const counted = () => {
        begin();
        const { killed, calls } = killBefore(Infinity, child("killer", root, operation), counts);
        assertEquals(killed, false);
        end();
        return calls;
      };
      const traced = () => {
        begin();
        const names = strace(child("strace", root, operation), `${dir.path}/trace`);
        end();
        return names.filter((name) => !RUNTIME.has(name));
      };
      // Two runs differ in some calls: the runtime has things of its own to do, and what others do takes time.
      const runs: (readonly Call[])[] = [], traces: string[][] = [];
      const same = () =>
        runs.find((run) => traces.some(({ length }) => isNear(length, run.length)));
      while (runs.length < 7 && same() === undefined) {
        runs.push(counted());
        traces.push(traced());
      }
      const calls = same() ?? [];
      const names = traces.find(({ length }) => isNear(length, calls.length)) ?? [];
      assert(
        calls.length > 0,
        `as many calls as strace sees: ${runs.map((run) => run.length)}, and by strace ${
          traces.map((trace) => trace.length)
        }`,
      );
      const tasks = calls.filter(isTask);
      const taken = points(calls.length);
      for (const point of taken) {
        // One that makes fewer calls, as it does if it waits for less, is whole, which is looked at all the same. It is
        // killed earlier the next time.
        for (let at = point, isOver = false; !isOver; at = Math.floor(0.9 * at)) {
          assert(at >= point / 2, `${operation} ended before its call ${at}, and later ones`);
          begin();
          const { killed } = killBefore(at, child("killer", root, operation), counts);
          isOver = killed || isNear(at, calls.length);
          try {
            end();
          } catch (cause) {
            throw new Error(
              `${operation} killed before call ${at} of ${calls.length} (${names[at]})`,
              { cause },
            );
          }
        }
      }
      console.log(
        `${operation}: ${calls.length} points, ${tasks.length} of them tasks of device-mapper; killed at ${taken.length}`,
      );
    },
  );
}

/** Whether two numbers of calls are those of one operation: 3 % apart at most. */
function isNear(one: number, other: number): boolean {
  return Math.abs(one - other) <= 0.03 * Math.max(one, other);
}

needs(
  lacks,
  `devicemapper with ${FILE_SYSTEM}: killed where a number is taken that no record has`,
  () => {
    using dir = storeDir();
    const root = `${dir.path}/root`;
    prepare(root);
    restore(openStore(root), root);
    // The base is 1, the layers are 2 and 3.
    const others = [4, 5];
    const set = openSet(root);
    set.start();
    for (const id of others) assertEquals(set.pool.tryCreateSnapshot(id, 2), 0);
    set.shutdown();
    const kill = (at: number) => {
      const { killed, calls } = killBefore(at, child("killer", root, "create"), counts);
      const driver = verify(root, "create", others);
      const set = openSet(root);
      if (driver.exists("new")) assertEquals(set.describe("new").deviceId, 6);
      restore(driver, root);
      return { killed, calls };
    };
    const { calls } = kill(Infinity);
    const messages = calls.flatMap((call, at) => isMessage(call) ? [at] : []);
    assert(messages.length > others.length, "each number is tried");
    // Just after the pool answered: about numbers that are taken first.
    const taken = IS_LONG ? messages : messages.slice(0, others.length);
    for (const at of taken) assert(kill(at + 1).killed, `it ended before its call ${at + 1}`);
  },
);
