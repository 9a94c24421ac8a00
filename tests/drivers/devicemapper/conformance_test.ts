/** The devicemapper driver through the conformance suite: ext4 on ext4, xfs on xfs. */
// @runs on guest ext4, guest xfs
import { GUEST_DEPTH } from "../../support/cases.ts";
import { conformance } from "../conformance/mod.ts";
import { FILE_SYSTEM, lacking, openStore } from "./support.ts";

conformance({
  name: `devicemapper with ${FILE_SYSTEM}`,
  open: (root, idMaps) => openStore(root, { idMaps }),
  lacking,
  // A layer has all of its files, so depth has no limit; but every layer of a chain is mounted here.
  maxDepth: GUEST_DEPTH ?? 128,
  lackingQuota: lacking,
  // A layer is as large as the base device at least.
  quota: 80,
  // Its log is written to.
  overhead: FILE_SYSTEM === "xfs" ? 3 : 1,
  // The name of a device has 127 bytes, of which the store's prefix takes up to 36.
  longestId: 90,
});
