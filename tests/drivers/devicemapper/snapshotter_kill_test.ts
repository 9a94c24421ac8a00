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
import { deviceNames, FILE_SYSTEM, lacking, loopFiles } from "./support.ts";
import { counts, killBefore, points } from "../kill/killer.ts";

const lacks = lacking ??
  (FILE_SYSTEM === "xfs" && !Deno.env.has("VENEER_TEST_LONG") ? "it ran on ext4" : undefined);

/** Kills an operation on a fresh store, and looks at what it left; how many calls it made. */
function killAt(at: number, operation: string): number {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  const open = () => openSnapshots(root, () => {});
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
    ],
    counts,
  );
  assertEquals(killed, at !== Infinity, "it is killed where it is to be");
  const snapshots = open();
  snapshots.mounts("view"); // The base device, where it was left active, is put aside by the first use.
  try {
    verifyStore(snapshots, dir, { operation, before, done: !killed, layers: layersOnDisk });
    assertEquals([deviceNames(), loopFiles(root)], [[], []]);
  } finally {
    snapshots.close();
  }
  return calls.length;
}

for (const operation of Object.keys(OPERATIONS)) {
  needs(
    lacks,
    `devicemapper snapshots with ${FILE_SYSTEM}: killed before every system call of ${operation}`,
    () => {
      const count = killAt(Infinity, operation);
      // Calls of the runtime vary: one of the last might not be reached.
      const taken = points(count - 5);
      for (const at of taken) {
        try {
          killAt(at, operation);
        } catch (cause) {
          throw new Error(`${operation} killed before call ${at} of ${count}`, { cause });
        }
      }
      assert(taken.length > 0);
      console.log(`${operation}: ${count} points, killed at ${taken.length}`);
    },
  );
}
