/** btrfs' snapshots through the conformance suite: without quotas and with them. */
// @runs on btrfs
import { openSnapshotter } from "../../support/drivers.ts";
import { disableQuota, quotaStatus, tryEnableQuota } from "../../../ffi/btrfs_quota.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { needs } from "../../support/cases.ts";
import { directory, lacking, layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterConformance } from "../snapshotter/mod.ts";

function run(name: string): void {
  snapshotterConformance({
    name,
    open: (root, foreignUses) =>
      openSnapshotter({
        root,
        foreignUses,
        driver: "btrfs",
        options: [],
        idMaps: IDENTITY,
        warn: (message) => console.error(message),
      }),
    lacking,
    layers: layersOnDisk,
    maxDepth: 128,
    committedMounted: "before",
    viewsAreParents: false,
    renamesDirectories: true,
    rebases: false,
    countsInodes: true,
  });
}

run("btrfs");

let turnedOn = false;

needs(lacking, "btrfs snapshots: quotas are turned on", () => {
  withFd(open(directory, O_RDONLY | O_DIRECTORY), (volume) => {
    turnedOn = quotaStatus(volume).mode === "off";
    if (turnedOn) unwrap(tryEnableQuota(volume, "qgroup"), "quota");
  });
});

run("btrfs with quotas");

needs(lacking, "btrfs snapshots: quotas are turned off again", () => {
  if (turnedOn) withFd(open(directory, O_RDONLY | O_DIRECTORY), disableQuota);
});
