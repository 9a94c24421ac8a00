/**
 * Chooses the driver of a store of snapshots and opens the store.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../ffi/stat.ts";
import { DATABASE } from "../lib/snapshots/open_store.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import type { Purpose } from "../lib/snapshots/session.ts";
import { Snapshots } from "../lib/snapshots/snapshots.ts";
import type { ForeignUses } from "../lib/base/opened.ts";
import type { Snapshotter } from "../lib/snapshots/snapshotter.ts";
import { AUTO, DRIVERS } from "./names.ts";
import {
  chooseAmong,
  completed,
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
export interface SnapshotStoreOptions {
  /**
   * Whether commits and removals refuse mounted snapshots (`"refuse"`, the default) or not
   * (`"ignore"`). The latter is for a service: there the mounts belong to the engine that calls it.
   */
  readonly foreignUses?: ForeignUses;
  /**
   * Called when a layer waits for deletion. If it is given, only
   * {@linkcode Snapshotter.deleteRemoved} deletes layers; opening the store and removing snapshots
   * do not.
   */
  readonly later?: () => void;
  /** The purpose of opening the store; `"change"` by default. */
  readonly purpose?: Purpose;
}

/**
 * Opens a store of snapshots, creating it if it is missing, and finishes the work of killed
 * processes. A root may have a store of each driver.
 *
 * This needs root and `--allow-all`.
 *
 * @example A snapshot that is changed and committed
 * ```ts no-eval
 * import { openSnapshotter } from "@veneer/veneer";
 *
 * using snapshots = await openSnapshotter({ root: "/srv/layers", driver: "overlay2" });
 * snapshots.prepare("work", "");
 * const root = snapshots.mount("work");
 * Deno.writeTextFileSync(`${root}/hello`, "hello\n");
 * snapshots.unmount("work");
 * snapshots.commit("greeting", "work");
 * ```
 *
 * @throws {VeneerError} as `openDriver`, and `incompatible` if `auto` finds stores of several
 * drivers
 */
export async function openSnapshotter(
  options: OpenOptions & SnapshotStoreOptions = {},
): Promise<Snapshotter> {
  return openSnapshots(await loadForSnapshots(options), options);
}

/** Loads the drivers that a store of snapshots may be opened with. */
export function loadForSnapshots(options: OpenOptions): Promise<Driver[]> {
  const { root, driver } = completed(options);
  return loadFor(driver, priorSnapshots(root));
}

/** The same with drivers that are already loaded. */
export function openSnapshots(
  drivers: readonly Driver[],
  open: OpenOptions & SnapshotStoreOptions,
): Snapshots {
  const { root, driver: name, options, idMaps, warn } = completed(open);
  const { foreignUses, later, purpose } = open;
  const settings = parseStoreOptions(options);
  const { given, sync, workers, inflater, limits, usageAge, isRemapped } = settings;
  const driver = name === AUTO
    ? chooseAmong(drivers, priorSnapshots(root), join(root, SNAPSHOTS))
    : find(drivers, name);
  const own = ownOptions(given, driver);
  return new Snapshots({
    backend: driver.openSnapshots({ root, options: own, idMaps, warn }),
    port: kernelMountPort,
    warn,
    sync,
    idMaps,
    workers,
    inflater,
    foreignUses,
    later,
    purpose,
    limits,
    usageAge,
    isRemapped,
  });
}

/** The drivers whose database of snapshots exists at a root. */
export function priorSnapshots(root: string): string[] {
  return DRIVERS.map(({ name }) => name)
    .filter((name) => tryLstat(join(root, SNAPSHOTS, name, DATABASE)) !== undefined);
}
