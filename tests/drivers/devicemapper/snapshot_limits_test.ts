/** Limits of devicemapper's snapshots: the size of a device. */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { must, needs } from "../../support/cases.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { assertFails } from "../../support/errors.ts";
import { storeDir } from "../../support/store_dir.ts";
import { lacking, SMALL } from "./support.ts";

const MIB = 1 << 20;

needs(
  lacking,
  "devicemapper snapshots' limits: a container's device has the size, and shows it",
  () => {
    using dir = storeDir();
    const open = (...options: string[]) =>
      openSnapshotter({ root: dir.path, driver: "devicemapper", options: [...SMALL, ...options] });
    using snapshots = open("snapshot.size=128M");
    snapshots.prepare("extract-1 base", "");
    snapshots.commit("base", "extract-1 base");
    const size = (key: string) => {
      const blocks = must("stat", "-f", "-c", "%b %S", snapshots.mount(key)).trim().split(" ");
      snapshots.unmount(key);
      return Number(blocks[0]) * Number(blocks[1]) / MIB;
    };
    snapshots.prepare("default/1/run", "base");
    snapshots.prepare("default/2/extract-1 x", "base");
    const container = size("default/1/run");
    assert(container > 96 && container <= 128, `${container} MiB`);
    assert(size("default/2/extract-1 x") <= 64);
    for (const key of ["default/1/run", "default/2/extract-1 x", "base"]) snapshots.remove(key);
    snapshots.cleanup();
    const refused = (option: string) => assertFails("not supported", () => open(option)).message;
    assertEquals(refused("snapshot.size=1M").includes("dm.basesize"), true);
    assertEquals(refused("snapshot.inodes=5").includes("not its inodes"), true);
  },
);
