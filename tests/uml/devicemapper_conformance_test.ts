/** The devicemapper driver through the conformance suite: ext4 on ext4, xfs on xfs. */
import { conformance } from "../drivers/conformance.ts";
import { FILE_SYSTEM, lacking, openStore } from "./devicemapper_support.ts";

conformance({
  name: `devicemapper with ${FILE_SYSTEM}`,
  open: (root, idMaps) => openStore(root, { idMaps }),
  lacking,
  // A layer has all of its files: depth costs nothing and has no limit; this many take a while as it is.
  maxDepth: 128,
  lackingQuota: lacking,
  // A layer is as large as the base device at least.
  quota: FILE_SYSTEM === "xfs" ? 320 : 80,
  // The name of a device has 127 bytes, of which the store's prefix takes up to 36.
  longestId: 90,
});
