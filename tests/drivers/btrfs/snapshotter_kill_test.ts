/** btrfs' snapshots killed at any point. */
// @runs on btrfs
import { lacking, layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterKillCases } from "../kill/snapshotter.ts";

snapshotterKillCases("btrfs", lacking, layersOnDisk);
