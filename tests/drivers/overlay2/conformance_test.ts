/** The overlay2 driver through the conformance suite, by both kinds of mount calls where the kernel has both. */
// @runs on ext4, xfs, guest ext4
// @runs long on btrfs
import { openDriver } from "../../support/drivers.ts";
import { quotaLacking } from "../../../drivers/overlay2/project_quota.ts";
import { GUEST_DEPTH, notQuick, TEST_FS } from "../../support/cases.ts";
import { directory, lacking, lackingNew } from "./support.ts";
import { conformance, type Subject } from "../conformance/mod.ts";

/**
 * As deep as overlay goes; by the new calls on one file system only, which it does not know: it
 * takes 14 s.
 */
const MAX_DEPTHS = {
  new: ["xfs", "btrfs"].includes(TEST_FS) ? 128 : 500,
  old: GUEST_DEPTH ?? 128,
};

const subject = (api: "new" | "old", lacking: string | undefined): Subject => ({
  name: api === "new" ? "overlay2" : "overlay2 by mount(2)",
  open: (root, idMaps) =>
    openDriver({
      root,
      driver: "overlay2",
      options: [`overlay2.mount_api=${api}`, "overlay2.allow_btrfs=true"],
      idMaps,
      warn: (message) => console.error(message),
    }),
  lacking,
  maxDepth: MAX_DEPTHS[api],
  lackingQuota: lacking ?? quotaLacking(directory),
});

conformance(subject("new", lackingNew));
// One kind is enough for xfs, where all that differs is the file system.
const ranOnExt4 = lackingNew === undefined && TEST_FS === "xfs" ? "it ran on ext4" : undefined;
conformance(subject("old", lacking ?? ranOnExt4 ?? notQuick));
