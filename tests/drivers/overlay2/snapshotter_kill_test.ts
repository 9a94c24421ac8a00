/** overlay2's snapshots killed at any point. */
// @runs on ext4
// @runs long on xfs
import { lacking } from "./support.ts";
import { layersOnDisk } from "./snapshotter_support.ts";
import { snapshotterKillCases } from "../kill/snapshotter.ts";

snapshotterKillCases("overlay2", lacking, layersOnDisk);
