/** Many processes on one store of overlay2's snapshots. */
// @runs on ext4
// @runs long on xfs, btrfs
import { TEST_FS } from "../../support/cases.ts";
import { lacking } from "./support.ts";
import { layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterProcessCases } from "../snapshotter/processes.ts";

const ran = TEST_FS === "" || TEST_FS === "ext4" ? undefined : "it ran on ext4";
snapshotterProcessCases("overlay2", lacking ?? ran, layersOnDisk);
