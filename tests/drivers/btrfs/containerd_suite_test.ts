/** containerd's own suite of snapshotters on the service, with btrfs. */
// @runs on btrfs
import { containerdSuite } from "../../services/containerd_suite.ts";
import { lacking } from "./support.ts";

containerdSuite("btrfs", { lacking });
containerdSuite("btrfs", { lacking, options: ["sync=layer"] });
