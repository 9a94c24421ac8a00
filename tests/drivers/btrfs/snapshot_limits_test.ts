/** Limits of btrfs' snapshots: what one may take beyond what it inherits, by qgroup. */
// @runs on btrfs
import { assert, assertEquals } from "@std/assert";
import { disableQuota, quotaStatus } from "../../../ffi/btrfs_quota.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import type { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import { must, needs } from "../../support/cases.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { assertFails } from "../../support/errors.ts";
import { storeDir } from "../../support/store_dir.ts";
import { removeAll } from "../snapshotter/store.ts";
import { directory, lacking } from "./support.ts";

const MIB = 1 << 20;

const onVolume = <T>(use: (volume: number) => T): T =>
  withFd(open(directory, O_RDONLY | O_DIRECTORY), use);
const mode = () => onVolume((volume) => quotaStatus(volume).mode);

/** A case on a store, after which quotas are off again. */
function test(name: string, options: string[], body: (snapshots: Snapshots) => void): void {
  needs(lacking, `btrfs snapshots' limits: ${name}`, () => {
    using dir = storeDir();
    try {
      using snapshots = openSnapshotter({
        root: `${dir.path}/store`,
        driver: "btrfs",
        options,
        warn: () => {},
      });
      try {
        body(snapshots);
      } finally {
        removeAll(snapshots);
      }
    } finally {
      onVolume((volume) => quotaStatus(volume).mode === "off" || disableQuota(volume));
    }
  });
}

/** Fills a new snapshot with so many MiB that are not alike, and commits it. */
function layer(snapshots: Snapshots, name: string, parent: string, mebibytes: number): void {
  snapshots.prepare(`extract-1 ${name}`, parent);
  const root = snapshots.mount(`extract-1 ${name}`);
  for (let i = 0; i < mebibytes; i++) {
    Deno.writeFileSync(`${root}/${name}-${i}`, crypto.getRandomValues(new Uint8Array(65_536)));
    must("sh", "-c", 'for _ in $(seq 16); do cat "$0"; done >"$0.16"', `${root}/${name}-${i}`);
  }
  snapshots.unmount(`extract-1 ${name}`);
  snapshots.commit(name, `extract-1 ${name}`);
}

/** How many files of a MiB there is room for, of 40. */
function room(snapshots: Snapshots, key: string): number {
  const root = snapshots.mount(key);
  let count = 0;
  try {
    for (; count < 40; count++) {
      const path = `${root}/${crypto.randomUUID()}`;
      Deno.writeFileSync(path, new Uint8Array(MIB).fill(count));
      must("sync", "-f", path);
    }
  } catch (error) {
    assert(/os error (28|122)|exceeded|No space/.test(String(error)), String(error));
  } finally {
    snapshots.unmount(key);
  }
  return count;
}

test("containers are kept to the default beyond their image", ["snapshot.size=8M"], (snapshots) => {
  assertEquals(mode(), "qgroup");
  layer(snapshots, "base", "", 12);
  layer(snapshots, "more", "base", 2);
  snapshots.prepare("default/1/run", "more");
  snapshots.prepare("default/2/extract-1 x", "more");
  const container = room(snapshots, "default/1/run");
  assert(container >= 6 && container <= 8, `${container} MiB`);
  assertEquals(room(snapshots, "default/2/extract-1 x"), 40);
  // What was committed is an image layer, which has no limit.
  snapshots.commit("changed", "default/1/run");
  snapshots.prepare("default/3/extract-1 y", "changed");
  assertEquals(room(snapshots, "default/3/extract-1 y"), 40);
});

test("a cleanup that turned quotas off is no way around", ["snapshot.size=4M"], (snapshots) => {
  layer(snapshots, "base", "", 1);
  snapshots.cleanup();
  assertEquals(mode(), "off");
  snapshots.prepare("run", "base");
  assertEquals(mode(), "qgroup");
  assert(room(snapshots, "run") <= 4);
});

test("without quotas, and for inodes, limits are refused", [], (snapshots) => {
  const root = snapshots.home.replace(/\/snapshots\/btrfs$/, "");
  const refused = (...options: string[]) =>
    assertFails("not supported", () => openSnapshotter({ root, driver: "btrfs", options })).message;
  assert(refused("snapshot.size=1G", "btrfs.quota=off").includes("btrfs.quota=off"));
  assert(refused("snapshot.inodes=10").includes("not its inodes"));
});
