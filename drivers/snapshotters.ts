/**
 * Which driver a store of snapshots is opened with.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../ffi/stat.ts";
import { DATABASE } from "../lib/snapshots/open_store.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { Snapshots, type SnapshotsContext } from "../lib/snapshots/snapshots.ts";
import type { Snapshotter } from "../lib/snapshots/snapshotter.ts";
import { AUTO, DRIVERS } from "./names.ts";
import {
  chooseAmong,
  type Driver,
  find,
  loadFor,
  type OpenOptions,
  ownOptions,
  parseStoreOptions,
} from "./registry.ts";

/** The directory below `<root>` with each driver's home of snapshots. */
const SNAPSHOTS = "snapshots";

/** Further options for opening a store of snapshots. */
export type SnapshotOptions = Pick<SnapshotsContext, "foreignUses" | "later" | "purpose">;

/**
 * Opens the store of snapshots at a root, which may have one of each driver. The option `workers`
 * is about applying tars; it is checked, and nothing here asks for it.
 *
 * @throws {VeneerError} as `openDriver`, and `incompatible` if `auto` finds several
 */
export async function openSnapshotter(
  open: OpenOptions & SnapshotOptions,
): Promise<Snapshotter> {
  return openSnapshots(await loadFor(open.driver, priorStores(open.root)), open);
}

/** The same with drivers that are loaded. */
export function openSnapshots(
  drivers: readonly Driver[],
  { root, driver: name, options, idMaps, warn, foreignUses, later, purpose }:
    & OpenOptions
    & SnapshotOptions,
): Snapshots {
  const { given, sync } = parseStoreOptions(options);
  const driver = name === AUTO
    ? chooseAmong(drivers, priorStores(root), join(root, SNAPSHOTS))
    : find(drivers, name);
  const own = ownOptions(given, driver);
  return new Snapshots({
    backend: driver.openSnapshots({ root, options: own, idMaps, warn }),
    port: kernelMountPort,
    warn,
    sync,
    foreignUses,
    later,
    purpose,
  });
}

/** The drivers that have snapshots at a root, by their databases. */
function priorStores(root: string): string[] {
  return DRIVERS.map(({ name }) => name)
    .filter((name) => tryLstat(join(root, SNAPSHOTS, name, DATABASE)) !== undefined);
}
