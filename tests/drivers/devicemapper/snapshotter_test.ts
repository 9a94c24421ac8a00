/** devicemapper's snapshots through the conformance suite: ext4 on ext4, xfs on xfs. */
// @runs on guest ext4
// @runs long on guest xfs
import { GUEST_DEPTH } from "../../support/cases.ts";
import { snapshotterConformance } from "../snapshotter/mod.ts";
import { layersOnDisk, openSnapshots } from "./snapshotter_support.ts";
import { FILE_SYSTEM, lacking } from "./support.ts";

snapshotterConformance({
  name: `devicemapper with ${FILE_SYSTEM}`,
  open: (root) => openSnapshots(root),
  lacking,
  layers: layersOnDisk,
  // Depth has no limit, and takes its time here: the layers themselves have a case 128 deep.
  maxDepth: GUEST_DEPTH ?? 128,
  viewsAreParents: false,
  renamesDirectories: true,
  rebases: false,
  countsInodes: true,
  // At a mount, xfs writes over 2 MiB of its log: what is ahead of its end.
  overhead: FILE_SYSTEM === "xfs" ? 3 : 1,
});
