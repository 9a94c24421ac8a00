/** The btrfs driver through the conformance suite: without quotas and with them. */
// @runs on btrfs
import { assertEquals } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import { disableQuota, quotaStatus } from "../../../ffi/btrfs_quota.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { needs } from "../../support/cases.ts";
import { directory, lacking } from "./support.ts";
import { conformance } from "../conformance/mod.ts";

function run(variant: string, options: string[], lackingQuota?: string): void {
  conformance({
    name: `btrfs${variant}`,
    open: (root, idMaps) => openDriver({ root, driver: "btrfs", options, idMaps, warn: () => {} }),
    lacking,
    // There is none: as many as are worth waiting for.
    maxDepth: 150,
    lackingQuota,
  });
}

run("", ["btrfs.quota=off"], "btrfs.quota=off: with quotas it ran");
run(" with quotas", ["btrfs.min_space=1M"]);

needs(lacking, "btrfs: min_space keeps quotas on, as long as nobody turns them off", () => {
  withFd(open(directory, O_RDONLY | O_DIRECTORY), (volume) => {
    assertEquals(quotaStatus(volume).mode, "qgroup");
    disableQuota(volume);
    assertEquals(quotaStatus(volume).mode, "off");
  });
});
