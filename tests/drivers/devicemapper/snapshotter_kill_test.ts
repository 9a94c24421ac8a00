/**
 * devicemapper's snapshots killed before system calls of what is done with them, those of libdevmapper among
 * them. `make test` takes a sample; all are taken where `VENEER_TEST_LONG` is set.
 */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { OPERATIONS, prepareStore, verifyStore } from "../kill/snapshotter.ts";
import { storeDir } from "../../support/store_dir.ts";
import { needs } from "../../support/cases.ts";
import { layersOnDisk, openSnapshots } from "./snapshotter_support.ts";
import { assertNoDevices, FILE_SYSTEM, lacking, loopDevice } from "./support.ts";
import { counts, killBefore, points } from "../kill/killer.ts";

/**
 * Kills an operation on a fresh store, and looks at what it left; how many calls it made, and whether it was killed.
 */
function killAt(at: number, operation: string, isOnDevices = false) {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  using devices = new DisposableStack();
  const device = (name: string, size: number) =>
    devices.use(loopDevice(`${dir.path}/${name}`, size)).path;
  const options = isOnDevices
    ? [`dm.datadev=${device("data", 512 << 20)}`, `dm.metadatadev=${device("meta", 8 << 20)}`]
    : [];
  const open = () => openSnapshots(root, () => {}, options);
  const before = prepareStore(open, dir.path, operation);
  const child = `${import.meta.dirname}/snapshotter_kill_child.ts`;
  const { killed, calls } = killBefore(
    at,
    [
      Deno.execPath(),
      "run",
      "--quiet",
      "--allow-all",
      "--no-check",
      child,
      "killer",
      root,
      operation,
      ...options,
    ],
    counts,
  );
  const snapshots = open();
  snapshots.mounts("view"); // The base device, where it was left active, is put aside by the first use.
  try {
    verifyStore(snapshots, dir, { operation, before, done: !killed, layers: layersOnDisk });
    assertNoDevices(root);
  } finally {
    snapshots.close();
  }
  return { count: calls.length, killed };
}

function killEach(operation: string, isOnDevices: boolean): void {
  const { count, killed } = killAt(Infinity, operation, isOnDevices);
  assertEquals(killed, false);
  // Calls of the runtime vary: one of the last might not be reached.
  const taken = points(count - 5);
  for (const point of taken) {
    // Nor others, on a busy machine, where the first run waited for more. Then it is killed earlier.
    for (let at = point, isKilled = false; !isKilled; at = Math.floor(0.9 * at)) {
      assert(at >= point / 2, `${operation} ended before its call ${at}, and later ones`);
      try {
        isKilled = killAt(at, operation, isOnDevices).killed;
      } catch (cause) {
        throw new Error(`${operation} killed before call ${at} of ${count}`, { cause });
      }
    }
  }
  assert(taken.length > 0);
  console.log(`${operation}: ${count} points, killed at ${taken.length}`);
}

for (const operation of Object.keys(OPERATIONS)) {
  needs(
    lacking,
    `devicemapper snapshots with ${FILE_SYSTEM}: killed before every system call of ${operation}`,
    () => killEach(operation, false),
  );
}

// What differs on given devices is the pool's way up and down, which each operation has.
for (const operation of ["commit", "remove"]) {
  needs(
    lacking,
    `devicemapper snapshots on given devices: killed before every system call of ${operation}`,
    () => killEach(operation, true),
  );
}
