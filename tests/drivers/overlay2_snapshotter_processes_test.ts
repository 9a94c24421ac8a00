/** Many processes on one store of overlay2's snapshots. */
import { TEST_FS } from "../support.ts";
import { lacking, layersOnDisk } from "./overlay2_snapshotter_support.ts";
import { snapshotterProcessCases } from "./snapshotter_processes.ts";

const ran = TEST_FS === "" || TEST_FS === "ext4" ? undefined : "it ran on ext4";
snapshotterProcessCases("overlay2", lacking ?? ran, layersOnDisk);
