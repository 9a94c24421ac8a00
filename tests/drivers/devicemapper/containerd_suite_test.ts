/** containerd's own suite of snapshotters on the service, with devicemapper. */
// @runs on guest ext4
import { containerdSuite } from "../../services/containerd_suite.ts";
import { FILE_SYSTEM, lacking, SMALL } from "./support.ts";

/** It takes long here. */
const elsewhere = FILE_SYSTEM === "ext4" ? undefined : "it is run on ext4";

containerdSuite("devicemapper", {
  lacking: lacking ?? elsewhere,
  options: SMALL,
});
