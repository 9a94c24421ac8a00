/** overlay2's snapshots through the conformance suite, by both kinds of mount calls where the kernel has both. */
// @runs on ext4, xfs, guest ext4
// @runs long on btrfs
import { openSnapshotter } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { GUEST_DEPTH, notQuick, TEST_FS } from "../../support/cases.ts";
import { lacking, lackingNew } from "./support.ts";
import { layersOnDisk, OPTIONS } from "./snapshotter_support.ts";
import { snapshotterConformance } from "../snapshotter/mod.ts";

function run(name: string, api: "new" | "old", maxDepth: number, lacking?: string): void {
  snapshotterConformance({
    name,
    open: (root, foreignUses) =>
      openSnapshotter({
        root,
        foreignUses,
        driver: "overlay2",
        options: [...OPTIONS, `overlay2.mount_api=${api}`],
        idMaps: IDENTITY,
        warn: (message) => console.error(message),
      }),
    lacking,
    layers: layersOnDisk,
    maxDepth,
    committedMounted: "before and after",
    viewsAreParents: false,
    // A directory of a lower layer can be renamed only with `redirect_dir`, and none is asked for.
    renamesDirectories: false,
    rebases: true,
    countsInodes: true,
  });
}

run("overlay2", "new", 500, lackingNew);
// One kind is enough for xfs and btrfs, where all that differs is the file system, and ext4 for an old kernel.
const ran =
  lackingNew === undefined && ["xfs", "btrfs"].includes(TEST_FS) || TEST_FS === "xfs+pquota"
    ? "it ran on ext4"
    : undefined;
run("overlay2 by mount(2)", "old", GUEST_DEPTH ?? 128, lacking ?? ran ?? notQuick);
