/** `check` on btrfs: layers that are subvolumes no more, sizes, snapshots. */
// @runs on btrfs
import { join } from "@std/path";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { must, needs, TEST_FS } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { storeDir } from "../support/store_dir.ts";
import { assertEquals } from "@std/assert";
import { assertFound, check, RECORD_DAMAGES, RECORD_FAULTS, repair } from "./support.ts";

const lacking = TEST_FS === "btrfs" ? undefined : "it needs btrfs";

/** Puts a plain directory in a subvolume's place. */
function plain(path: string): void {
  must("btrfs", "subvolume", "delete", path);
  Deno.mkdirSync(path);
}

/** Records a parent. */
const layersOn = (root: string, parent: string, id: string) =>
  Deno.writeTextFileSync(join(root, "btrfs/.veneer/parents", id), parent);

needs(lacking, "check: btrfs: damaged layers and sizes are found, and named right", () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), home = join(root, "btrfs");
  const text = "12884901888";
  {
    using layers = openDriver({ root, driver: "btrfs" });
    for (const id of ["base", "alone", "app", "top"]) {
      layers.create(id, { parent: id === "app" ? "base" : id === "top" ? "app" : undefined });
    }
  }
  const size = join(home, "quotas/alone");
  Deno.writeTextFileSync(size, text);
  assertFound(check(root, "btrfs"), []);
  for (const [name, damage] of Object.entries(RECORD_DAMAGES)) {
    damage(size);
    const found = name === "removed" ? [] : [`quota-${RECORD_FAULTS[name]} quotas/alone`];
    assertFound(check(root, "btrfs"), found, found.length > 0 ? ["alone"] : []);
    assertEquals(repair(root, "btrfs").mended.length, found.length);
    assertFound(check(root, "btrfs"), []);
    must("rm", "-rf", size);
    Deno.writeTextFileSync(size, text);
    Deno.chmodSync(size, 0o644);
  }
  // 2^53 and more are no sizes for the driver either.
  Deno.writeTextFileSync(size, "9007199254740992");
  assertFound(check(root, "btrfs"), ["quota-invalid quotas/alone"], ["alone"]);
  Deno.writeTextFileSync(size, text);
  const parent = join(home, ".veneer/parents/top");
  Deno.writeTextFileSync(parent, "gone");
  assertFound(check(root, "btrfs"), ["parent-dangling .veneer/parents/top"], ["top"]);
  Deno.writeTextFileSync(parent, "app");
  plain(join(home, "subvolumes/app"));
  const found = ["layer-not-a-subvolume subvolumes/app"];
  assertFound(check(root, "btrfs"), found, ["app", "top"]);
  Deno.removeSync(join(home, "subvolumes/app"));
  Deno.writeTextFileSync(join(home, "subvolumes/app"), "");
  const file = ["layer-not-a-directory subvolumes/app"];
  assertFound(check(root, "btrfs"), file, ["app", "top"]);
  Deno.removeSync(join(home, "subvolumes/app"));
  assertFound(check(root, "btrfs"), ["parent-dangling .veneer/parents/top"], ["top"]);
  repair(root, "btrfs");
  assertFound(check(root, "btrfs"), []);
  // Its subvolume is moved with the records, and keeps its files.
  Deno.writeTextFileSync(join(home, "subvolumes/top/file"), "content");
  plain(join(home, "subvolumes/base"));
  layersOn(root, "base", "top");
  const { lost, quarantine } = repair(root, "btrfs");
  assertEquals(lost.map(({ name }) => name).sort(), ["base", "top"]);
  const kept = Deno.readTextFileSync(join(quarantine!, "home/subvolumes/top/file"));
  assertEquals(kept, "content");
  assertFound(check(root, "btrfs"), []);
});

needs(lacking, "repair: btrfs: a lost size is read back from the layer's qgroup", () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), record = join(root, "btrfs/quotas/app");
  {
    using layers = openDriver({ root, driver: "btrfs" });
    layers.createReadWrite("app", { storageOptions: new Map([["size", "64M"]]) });
  }
  const size = Deno.readTextFileSync(record);
  assertEquals(size, `${64 << 20}`);
  for (const [text, kind] of [["", "empty"], ["64 MiB?", "invalid"]]) {
    Deno.writeTextFileSync(record, text);
    assertFound(check(root, "btrfs"), [`quota-${kind} quotas/app`]);
    repair(root, "btrfs");
    assertEquals(Deno.readTextFileSync(record), size);
    assertFound(check(root, "btrfs"), []);
  }
  // Without the limit nothing tells it.
  must("btrfs", "qgroup", "limit", "none", join(root, "btrfs/subvolumes/app"));
  Deno.writeTextFileSync(record, "");
  repair(root, "btrfs");
  assertEquals(isThere(record), false);
  using layers = openDriver({ root, driver: "btrfs" });
  layers.remove("app");
  layers.cleanup();
});

needs(lacking, "check: btrfs: damaged layers of snapshots are found", () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), home = join(root, "snapshots/btrfs");
  {
    using snapshots = openSnapshotter({ root, driver: "btrfs" });
    snapshots.prepare("one", "");
    snapshots.commit("base", "one");
    snapshots.prepare("work", "base");
  }
  assertFound(check(root, "btrfs", "snapshots"), []);
  const [work] = [...Deno.readDirSync(join(home, "active"))].map(({ name }) => name);
  must("btrfs", "subvolume", "create", join(home, "active", "0".repeat(56)));
  const unknown = `snapshot-layer-unknown active/${"0".repeat(56)}`;
  assertFound(check(root, "btrfs", "snapshots"), [unknown], []);
  plain(join(home, "active", work));
  assertFound(check(root, "btrfs", "snapshots"), [
    `snapshot-layer-not-a-subvolume active/${work}`,
    unknown,
  ], ["work"]);
  must("rm", "-r", join(home, "active", work));
  assertFound(check(root, "btrfs", "snapshots"), [
    `snapshot-layer-missing active/${work}`,
    unknown,
  ], ["work"]);
  assertEquals(repair(root, "btrfs", "snapshots").lost.map(({ name }) => name), ["work"]);
  assertFound(check(root, "btrfs", "snapshots"), [unknown]);
  // A committed snapshot is a read-only subvolume, which cannot be moved as it is.
  {
    using snapshots = openSnapshotter({ root, driver: "btrfs" });
    snapshots.prepare("two", "base");
    snapshots.commit("more", "two");
  }
  const [base] = Array.from(Deno.readDirSync(join(home, "snapshots")), ({ name }) => name)
    .filter((name) => layerNamed(root, "base") === `snapshots.${name}`);
  must("btrfs", "property", "set", "-f", join(home, "snapshots", base), "ro", "false");
  plain(join(home, "snapshots", base));
  const { lost } = repair(root, "btrfs", "snapshots");
  assertEquals(lost.map(({ name }) => name).sort(), ["base", "more"]);
  assertFound(check(root, "btrfs", "snapshots"), [unknown]);
});

/** The layer of a snapshot. */
function layerNamed(root: string, name: string): string | undefined {
  using snapshots = openSnapshotter({ root, driver: "btrfs" });
  return [...snapshots.walk()].find((snapshot) => snapshot.name === name)?.layer;
}
