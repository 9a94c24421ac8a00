/** overlay2's snapshots killed at any point. */
import { lacking, layersOnDisk } from "./overlay2_snapshotter_support.ts";
import { snapshotterKillCases } from "./snapshotter_kill.ts";

snapshotterKillCases("overlay2", lacking, layersOnDisk);
