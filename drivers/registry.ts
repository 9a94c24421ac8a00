/**
 * The drivers there are, and which of them a store of layers is opened with.
 *
 * @module
 */
import { join } from "@std/path";
import { names } from "../lib/base/processes.ts";
import type { DriverDefinition } from "./definition.ts";
import { VeneerError } from "../lib/base/errors.ts";
import { Graph, type GraphContext } from "../lib/graph/graph.ts";
import type { GraphDriver } from "../lib/graph/driver.ts";
import type { Remedy } from "../lib/base/remedy.ts";
import type { IdMaps } from "../lib/base/id_maps.ts";
import { isId } from "../lib/base/ids.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { checkKnown, parseOptions, suggestion } from "../lib/base/options.ts";
import { aufs } from "./aufs/mod.ts";
import { btrfs } from "./btrfs/mod.ts";
import { devicemapper } from "./devicemapper/mod.ts";
import { overlay2 } from "./overlay2/mod.ts";

/** In the order in which `auto` tries them where there is no store yet. */
export const DRIVERS: readonly DriverDefinition[] = [overlay2, btrfs, aufs, devicemapper];

/** Where each driver's layout, Docker's, lists its layers below `<root>`: to recognise a store. */
const LAYER_DIRECTORIES: ReadonlyMap<string, string> = new Map([
  ["overlay2", "overlay2"],
  ["btrfs", "btrfs/subvolumes"],
  ["devicemapper", "devicemapper/metadata"],
  ["aufs", "aufs/layers"],
]);

/** The driver that stands for whichever fits. */
export const AUTO = "auto";

/** Every name that chooses a driver. */
export const DRIVER_NAMES: readonly string[] = [AUTO, ...LAYER_DIRECTORIES.keys()];

/** Options of every driver. */
const COMMON_OPTIONS = ["sync", "workers"];

/** What a store of layers or of snapshots is opened with. */
export interface OpenOptions {
  readonly root: string;
  /** One of {@linkcode DRIVER_NAMES}. */
  readonly driver: string;
  /** `key=value`. */
  readonly options: readonly string[];
  readonly idMaps: IdMaps;
  /** Told, in one line, what works less well than it could. */
  readonly warn: (message: string, remedy?: Remedy) => void;
}

/** What a store of layers alone is opened with. */
export type LayerOptions = Pick<GraphContext, "foreignUses">;

/**
 * Opens the store at a root.
 *
 * @throws {VeneerError} `incompatible` where the store is another driver's, `not supported` where the driver
 * cannot run here, `invalid argument` for an option that is none
 */
export function openDriver(open: OpenOptions & LayerOptions): GraphDriver {
  const { root, driver, options, idMaps, warn, foreignUses } = open;
  const { given, sync, workers } = parseStoreOptions(options);
  const definition = choose(root, driver);
  const own = ownOptions(given, definition);
  const backend = definition.open({ root, options: own, idMaps, warn });
  return new Graph({ backend, port: kernelMountPort, warn, sync, workers, foreignUses });
}

/** Reads the options that every driver has, and refuses those that none has. */
export function parseStoreOptions(options: readonly string[]) {
  const given = parseOptions(options);
  checkKnown(given, [...COMMON_OPTIONS, ...DRIVERS.flatMap((d) => d.optionKeys)], "the store");
  return { given, sync: parseSync(given.get("sync")), workers: parseWorkers(given.get("workers")) };
}

/** The options for one driver, which must be its own. */
export function ownOptions(
  given: ReadonlyMap<string, string>,
  { name, optionKeys }: DriverDefinition,
): ReadonlyMap<string, string> {
  const own = new Map([...given].filter(([key]) => !COMMON_OPTIONS.includes(key)));
  checkKnown(own, optionKeys, name);
  return own;
}

function choose(root: string, driver: string): DriverDefinition {
  const stores = priorStores(root);
  if (driver === AUTO) return chooseAmong(stores, root);
  const definition = find(driver);
  if (stores.length > 0 && !stores.includes(driver)) {
    throw new VeneerError(
      "incompatible",
      `${root} has a store of ${stores.join(" and ")}, not of ${driver}`,
      { remedy: { kind: "driver", among: stores } },
    );
  }
  return definition;
}

/** The driver of the only store that there is, or the first that runs where there is none. */
export function chooseAmong(stores: readonly string[], where: string): DriverDefinition {
  if (stores.length > 1) {
    throw new VeneerError(
      "incompatible",
      `${where} has stores of ${stores.join(" and ")}`,
      { remedy: { kind: "driver", among: stores } },
    );
  }
  return stores.length === 1 ? find(stores[0]) : firstThatRuns(where);
}

/** The drivers that have layers at a root. */
function priorStores(root: string): string[] {
  return [...LAYER_DIRECTORIES]
    .filter(([, directory]) =>
      names(join(root, directory)).some((name) => isId(name) && name !== "l")
    )
    .map(([name]) => name);
}

/** The driver of a name. @throws {VeneerError} `usage` with the nearest one */
export function find(name: string): DriverDefinition {
  const definition = DRIVERS.find((d) => d.name === name);
  if (definition !== undefined) return definition;
  throw new VeneerError("usage", `there is no driver ${name}; ${suggestion(name, DRIVER_NAMES)}`);
}

function firstThatRuns(root: string): DriverDefinition {
  const runs = DRIVERS.find((d) => d.examine(root).every(({ state }) => state !== "missing"));
  if (runs === undefined) {
    throw new VeneerError("not supported", `no driver runs at ${root}`, {
      remedy: { kind: "examine" },
    });
  }
  return runs;
}

function parseSync(value: string | undefined): boolean {
  if (value === undefined || value === "none") return false;
  if (value === "filesystem") return true;
  throw new VeneerError(
    "invalid argument",
    `sync ${JSON.stringify(value)}: it is none or filesystem`,
  );
}

function parseWorkers(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (value === "0" || value === "1") return Number(value);
  throw new VeneerError("invalid argument", `workers ${JSON.stringify(value)}: it is 0 or 1`);
}
