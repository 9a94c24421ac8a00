/** btrfs' snapshots killed at any point. */
import { lacking, layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterKillCases } from "../kill/snapshotter.ts";

snapshotterKillCases("btrfs", lacking, layersOnDisk);
