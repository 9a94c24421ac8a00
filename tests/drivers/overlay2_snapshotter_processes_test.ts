/** Many processes on one store of overlay2's snapshots. */
import { lacking, layersOnDisk } from "./overlay2_snapshotter_support.ts";
import { snapshotterProcessCases } from "./snapshotter_processes.ts";

snapshotterProcessCases("overlay2", lacking, layersOnDisk);
