/** aufs's snapshots through the conformance suite, where the kernel has aufs. */
import { branchLimit } from "../../drivers/aufs/support.ts";
import { openSnapshotter } from "../../drivers/registry.ts";
import { MOUNT_DATA_MAX } from "../../ffi/mount.ts";
import { IDENTITY } from "../../lib/id_maps.ts";
import { skip } from "../support.ts";
import { lacking } from "./aufs_support.ts";
import { layersOnDisk } from "./overlay2_snapshotter_support.ts";
import { snapshotterConformance } from "./snapshotter.ts";

/** `max_opt` of aufs without the layer's own branch. */
const MOST_IN_ONE_CALL = 80;

/** As many layers as one call mounts below `DIR/case-<random>/root`, which has a page for its options. */
function maxDepth(): number {
  const root = `${Deno.env.get("VENEER_TEST_DIR") ?? "/tmp"}/case-0123456789abcdef/root`;
  const branch = `${root}/snapshots/aufs/snapshots/abcdefgh/fs=ro+wh:`.length;
  const OTHER_OPTIONS = 80;
  const inAPage = Math.floor((MOUNT_DATA_MAX - OTHER_OPTIONS) / branch) - 1;
  return Math.min((branchLimit() ?? 127) - 1, MOST_IN_ONE_CALL, inAPage);
}

if (lacking === undefined) {
  snapshotterConformance({
    name: "aufs",
    open: (root) =>
      openSnapshotter({
        root,
        driver: "aufs",
        options: [],
        idMaps: IDENTITY,
        warn: (message) => console.error(message),
      }),
    layers: layersOnDisk,
    maxDepth: maxDepth(),
    commitsMounted: false,
    viewsAreParents: true,
    // aufs moves no directory that lies below, as overlay does not: EXDEV.
    renamesDirectories: false,
    rebases: true,
    countsInodes: true,
  });
} else {
  skip("aufs: the snapshotter conformance suite", lacking);
}
