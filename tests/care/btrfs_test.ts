/** `check` on btrfs: layers that are subvolumes no more, sizes, snapshots. */
// @runs on btrfs
import { join } from "@std/path";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { must, needs, TEST_FS } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";
import { assertFound, check, RECORD_DAMAGES, RECORD_FAULTS } from "./support.ts";

const lacking = TEST_FS === "btrfs" ? undefined : "it needs btrfs";

/** Puts a plain directory in a subvolume's place. */
function plain(path: string): void {
  must("btrfs", "subvolume", "delete", path);
  Deno.mkdirSync(path);
}

needs(lacking, "check: btrfs: damaged layers and sizes are found, and named right", async () => {
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
  assertFound(await check(root, "btrfs"), []);
  for (const [name, damage] of Object.entries(RECORD_DAMAGES)) {
    damage(size);
    const found = name === "removed" ? [] : [`quota-${RECORD_FAULTS[name]} quotas/alone`];
    assertFound(await check(root, "btrfs"), found, found.length > 0 ? ["alone"] : []);
    must("rm", "-rf", size);
    Deno.writeTextFileSync(size, text);
    Deno.chmodSync(size, 0o644);
  }
  const parent = join(home, ".veneer/parents/top");
  Deno.writeTextFileSync(parent, "gone");
  assertFound(await check(root, "btrfs"), ["parent-dangling .veneer/parents/top"], ["top"]);
  Deno.writeTextFileSync(parent, "app");
  plain(join(home, "subvolumes/app"));
  const found = ["layer-not-a-subvolume subvolumes/app"];
  assertFound(await check(root, "btrfs"), found, ["app", "top"]);
  Deno.removeSync(join(home, "subvolumes/app"));
  Deno.writeTextFileSync(join(home, "subvolumes/app"), "");
  const file = ["layer-not-a-directory subvolumes/app"];
  assertFound(await check(root, "btrfs"), file, ["app", "top"]);
  Deno.removeSync(join(home, "subvolumes/app"));
  assertFound(await check(root, "btrfs"), ["parent-dangling .veneer/parents/top"], ["top"]);
});

needs(lacking, "check: btrfs: damaged layers of snapshots are found", async () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), home = join(root, "snapshots/btrfs");
  {
    using snapshots = openSnapshotter({ root, driver: "btrfs" });
    snapshots.prepare("one", "");
    snapshots.commit("base", "one");
    snapshots.prepare("work", "base");
  }
  assertFound(await check(root, "btrfs", "snapshots"), []);
  const [work] = [...Deno.readDirSync(join(home, "active"))].map(({ name }) => name);
  must("btrfs", "subvolume", "create", join(home, "active", "0".repeat(56)));
  const unknown = `snapshot-layer-unknown active/${"0".repeat(56)}`;
  assertFound(await check(root, "btrfs", "snapshots"), [unknown], []);
  plain(join(home, "active", work));
  assertFound(await check(root, "btrfs", "snapshots"), [
    `snapshot-layer-not-a-subvolume active/${work}`,
    unknown,
  ], ["work"]);
  must("rm", "-r", join(home, "active", work));
  assertFound(await check(root, "btrfs", "snapshots"), [
    `snapshot-layer-missing active/${work}`,
    unknown,
  ], ["work"]);
});
