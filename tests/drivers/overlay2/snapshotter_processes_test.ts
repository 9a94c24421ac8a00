/** Many processes on one store of overlay2's snapshots. */
import { lacking } from "./support.ts";
import { layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterProcessCases } from "../snapshotter/processes.ts";

snapshotterProcessCases("overlay2", lacking, layersOnDisk);
