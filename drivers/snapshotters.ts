/**
 * Which driver a store of snapshots is opened with.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../ffi/stat.ts";
import type { DriverDefinition } from "./definition.ts";
import { DATABASE, Snapshots, type SnapshotsContext } from "../lib/snapshots/snapshots.ts";
import type { Snapshotter } from "../lib/snapshots/snapshotter.ts";
import {
  AUTO,
  chooseAmong,
  DRIVERS,
  find,
  type OpenOptions,
  ownOptions,
  parseStoreOptions,
} from "./registry.ts";

/** Below `<root>`, where each driver has its home of snapshots. */
const SNAPSHOTS = "snapshots";

/** What a store of snapshots alone is opened with. */
export type SnapshotOptions = Pick<SnapshotsContext, "foreignUses" | "later">;

/**
 * Opens the store of snapshots at a root, which may have one of each driver. The option `workers` is about
 * applying tars; it is checked, and nothing here asks for it.
 *
 * @throws {VeneerError} as `openDriver`, and `incompatible` where `auto` finds several
 */
export function openSnapshotter(
  { root, driver, options, idMaps, warn, foreignUses, later }: OpenOptions & SnapshotOptions,
): Snapshotter {
  const { given, sync } = parseStoreOptions(options);
  const definition = chooseForSnapshots(root, driver);
  const own = ownOptions(given, definition);
  return new Snapshots({
    backend: definition.openSnapshots({ root, options: own, idMaps, warn }),
    warn,
    sync,
    foreignUses,
    later,
  });
}

/** A store for snapshots is the driver's whose database is there. */
function chooseForSnapshots(root: string, driver: string): DriverDefinition {
  if (driver !== AUTO) return find(driver);
  const home = join(root, SNAPSHOTS);
  const stores = DRIVERS.map(({ name }) => name)
    .filter((name) => tryLstat(join(home, name, DATABASE)) !== undefined);
  return chooseAmong(stores, home);
}
