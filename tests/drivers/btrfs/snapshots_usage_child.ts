/** Counts the usage of a snapshot: `ROOT KIND NAME PARENT…`. */
import * as btrfs from "../../../drivers/btrfs/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import type { SnapshotKind } from "../../../lib/snapshots/snapshotter.ts";

const [root, kind, name, ...parents] = Deno.args;
const backend = btrfs.openSnapshots({ root, options: new Map(), idMaps: IDENTITY, warn: () => {} });
const layer = backend.layerFor(kind as SnapshotKind, name)!;
const below = parents.map((parent) => backend.layerFor("committed", parent)!);
backend.usage({ layer, kind: kind as SnapshotKind, parents: below });
