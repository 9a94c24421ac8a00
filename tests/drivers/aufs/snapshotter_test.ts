/** aufs's snapshots through the conformance suite, where the kernel has aufs. */
// @runs on ext4
// @runs long on xfs, btrfs
import { branchLimit } from "../../../drivers/aufs/branch_limit.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { skip } from "../../support/cases.ts";
import { lacking } from "./support.ts";
import { layersOnDisk } from "../overlay2/snapshotter_support.ts";
import { snapshotterConformance } from "../snapshotter/mod.ts";

if (lacking === undefined) {
  snapshotterConformance({
    name: "aufs",
    open: (root, foreignUses) =>
      openSnapshotter({
        root,
        foreignUses,
        driver: "aufs",
        options: [],
        idMaps: IDENTITY,
        warn: (message) => console.error(message),
      }),
    layers: layersOnDisk,
    maxDepth: (branchLimit() ?? 127) - 1,
    committedMounted: "before and after",
    viewsAreParents: true,
    // aufs moves no directory that lies below, as overlay does not: EXDEV.
    renamesDirectories: false,
    rebases: true,
    countsInodes: true,
  });
} else {
  skip("aufs: the snapshotter conformance suite", lacking);
}
