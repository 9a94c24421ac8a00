/** Many processes on one store of btrfs' snapshots. */
// @runs on btrfs
import { lacking, layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterProcessCases } from "../snapshotter/processes.ts";

snapshotterProcessCases("btrfs", lacking, layersOnDisk);
