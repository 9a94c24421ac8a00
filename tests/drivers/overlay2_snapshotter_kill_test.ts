/** overlay2's snapshots killed at any point. */
import { TEST_FS } from "../support.ts";
import { lacking, layersOnDisk } from "./overlay2_snapshotter_support.ts";
import { snapshotterKillCases } from "./snapshotter_kill.ts";

const refused = TEST_FS === "btrfs" ? "overlay2 does not open on btrfs unless told to" : undefined;
snapshotterKillCases("overlay2", lacking ?? refused, layersOnDisk);
