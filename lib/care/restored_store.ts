/**
 * The store of a layer that is restored: a store of layers or one of snapshots, with new layers
 * that are filled from tars, compared and removed.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { GraphDriver } from "../graph/driver.ts";
import type { SnapshotInfo, Snapshotter } from "../snapshots/snapshotter.ts";

/** The ids and keys of new layers: this, and a UUID, so that no other layer has such an id. */
const SCRATCH = "veneer-repair-";
const SCRATCH_ID = new RegExp(`^${SCRATCH}[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`);

/** A store for a restoration. Layers have their ids on disk. */
export interface RestoredStore {
  /** Makes a layer on the parent of another one, and fills it from a tar; returns its id. */
  makeScratch(id: string, tar: number): string;
  /** Removes the new layers, including those that killed repairs left. */
  removeScratch(): void;
  /**
   * Opens the root of a layer's files if layers are devices, else `undefined`; `scope` closes it.
   *
   * @param isRead whether it is only read
   * @throws {VeneerError} `in use` if the device is mounted
   */
  open(id: string, scope: DisposableStack, isRead: boolean): number | undefined;
  /** For a committed snapshot its commit time, in microseconds since 1970; else 0. */
  createdAt(id: string): number;
}

/** Restores the layers of a graph. */
export function restoredLayers(driver: GraphDriver): RestoredStore {
  return {
    makeScratch(id, tar) {
      const { parent } = driver.layer(id);
      if (parent === undefined) {
        throw new VeneerError("failed precondition", `the parent of layer ${id} is not recorded`);
      }
      const scratch = newId();
      driver.create(scratch, { parent });
      driver.applyDiff(scratch, undefined, tar);
      return scratch;
    },
    removeScratch() {
      for (const { id } of driver.layers()) if (SCRATCH_ID.test(id)) driver.remove(id);
    },
    open: (id, scope, isRead) => driver.openFiles(id, scope, isRead),
    createdAt: () => 0,
  };
}

/** Restores committed snapshots. */
export function restoredSnapshots(snapshots: Snapshotter): RestoredStore {
  const infoOf = (layer: string): SnapshotInfo => {
    for (const info of snapshots.walk()) if (info.layer === layer) return info;
    throw new VeneerError("not found", `no snapshot has layer ${layer}`);
  };
  return {
    makeScratch(id, tar) {
      const scratch = newId();
      snapshots.prepare(scratch, infoOf(id).parent);
      snapshots.applyDiff(scratch, tar);
      return snapshots.stat(scratch).layer;
    },
    removeScratch() {
      for (const key of snapshots.active()) if (SCRATCH_ID.test(key)) snapshots.remove(key);
    },
    open: (id, scope, isRead) => snapshots.openFiles(infoOf(id).name, scope, isRead),
    createdAt: (id) => infoOf(id).created,
  };
}

const newId = () => `${SCRATCH}${crypto.randomUUID()}`;
