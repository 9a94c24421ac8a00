/** The overlay2 driver through the conformance suite, by both kinds of mount calls where the kernel has both. */
// @runs on ext4, xfs, btrfs, guest ext4
import { openDriver } from "../../support/drivers.ts";
import { takesLowersOneByOne } from "../../../drivers/overlay2/kernel.ts";
import { quotaLacking } from "../../../drivers/overlay2/project_quota.ts";
import { lacksFileSystem, TEST_FS } from "../../support/cases.ts";
import { conformance, type Subject } from "../conformance/mod.ts";

const directory = Deno.env.get("VENEER_TEST_DIR") ?? "/tmp";
const lacking = lacksFileSystem("overlay");
const isNew = lacking === undefined && takesLowersOneByOne(directory);

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
  maxDepth: api === "new" ? 500 : 128,
  lackingQuota: lacking ?? quotaLacking(directory),
});

const lackingNew = isNew ? undefined : "overlay of this kernel does not take lowerdir+";
conformance(subject("new", lacking ?? lackingNew));
// One kind is enough for xfs, where all that differs is the file system.
conformance(subject("old", lacking ?? (isNew && TEST_FS === "xfs" ? "it ran on ext4" : undefined)));
