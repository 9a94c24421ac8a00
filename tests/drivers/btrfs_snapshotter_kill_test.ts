/** btrfs' snapshots killed at any point. */
import { lacking, layersOnDisk } from "./btrfs_snapshotter_support.ts";
import { snapshotterKillCases } from "./snapshotter_kill.ts";

snapshotterKillCases("btrfs", lacking, layersOnDisk);
