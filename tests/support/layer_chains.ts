/**
 * The layers of snapshots in the form for a backend: a layer and those below it, its parent first.
 */
import type { LayerChain } from "../../lib/snapshots/backend.ts";
import type { SnapshotKind } from "../../lib/snapshots/snapshotter.ts";

const chainOf = (kind: SnapshotKind) => (layer: string, ...parents: string[]): LayerChain => ({
  layer,
  kind,
  parents,
});

export const active = chainOf("active");
export const view = chainOf("view");
export const committed = chainOf("committed");
