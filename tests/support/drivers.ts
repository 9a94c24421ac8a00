/**
 * Opens stores without waiting, with all drivers loaded beforehand.
 */
import {
  type LayerOptions,
  loadAll,
  openLayers,
  type OpenOptions,
} from "../../drivers/registry.ts";
import { openSnapshots, type SnapshotStoreOptions } from "../../drivers/snapshotters.ts";
import type { GraphDriver } from "../../lib/graph/driver.ts";
import type { Snapshots } from "../../lib/snapshots/snapshots.ts";

const DRIVERS = await loadAll();

/** Opens a store of layers. */
export function openDriver(options: OpenOptions & LayerOptions): GraphDriver {
  return openLayers(DRIVERS, options);
}

/** Opens a store of snapshots. */
export function openSnapshotter(options: OpenOptions & SnapshotStoreOptions): Snapshots {
  return openSnapshots(DRIVERS, options);
}
