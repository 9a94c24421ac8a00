/** Many processes on one store of btrfs' snapshots. */
import { lacking, layersOnDisk } from "./btrfs_snapshotter_support.ts";
import { snapshotterProcessCases } from "./snapshotter_processes.ts";

snapshotterProcessCases("btrfs", lacking, layersOnDisk);
