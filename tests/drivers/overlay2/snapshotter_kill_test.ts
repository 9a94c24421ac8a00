/** overlay2's snapshots killed at any point. */
// @runs on ext4
// @runs long on xfs, btrfs
import { TEST_FS } from "../../support/cases.ts";
import { lacking } from "./support.ts";
import { layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterKillCases } from "../kill/snapshotter.ts";

const refused = TEST_FS === "btrfs" ? "overlay2 does not open on btrfs unless told to" : undefined;
snapshotterKillCases("overlay2", lacking ?? refused, layersOnDisk);
