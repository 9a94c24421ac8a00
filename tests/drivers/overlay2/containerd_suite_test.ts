/** containerd's own suite of snapshotters on the service, with overlay2. */
// @runs on ext4, xfs
import { containerdSuite } from "../../services/containerd_suite.ts";
import { TEST_FS } from "../../support/cases.ts";
import { lacking } from "./support.ts";

/** Quotas make no difference, and under user-mode Linux it takes long. */
const elsewhere = /btrfs|quota/.test(TEST_FS) ? "it is run on ext4 and xfs" : undefined;

containerdSuite("overlay2", { lacking: lacking ?? elsewhere });
containerdSuite("overlay2", { lacking: lacking ?? elsewhere, options: ["sync=layer"] });
