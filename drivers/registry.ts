/**
 * Chooses the driver of a store of layers and opens the store. Only that driver's code is loaded,
 * if the driver is known beforehand.
 *
 * @module
 */
import { join } from "@std/path";
import { names } from "../lib/base/processes.ts";
import type { DriverCode, DriverDefinition } from "./definition.ts";
import { VeneerError } from "../lib/base/errors.ts";
import { parseInflater } from "../lib/base/inflater.ts";
import { DEFAULT_RECORD, type RecordKind } from "../lib/graph/content_format.ts";
import { Graph } from "../lib/graph/graph.ts";
import type { ForeignUses } from "../lib/base/opened.ts";
import type { GraphDriver } from "../lib/graph/driver.ts";
import type { EngineStore } from "../lib/graph/engine_store.ts";
import { IDENTITY, type IdMaps } from "../lib/base/id_maps.ts";
import { isId } from "../lib/base/ids.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { checkKnown, parseOptions, suggestion } from "../lib/base/options.ts";
import { parseSync } from "../lib/base/sync_mode.ts";
import { parseLimits } from "../lib/snapshots/limits.ts";
import { parseRemap, REMAP_OPTION } from "../lib/snapshots/remap.ts";
import { parseUsageAge, USAGE_AGE_OPTION } from "../lib/snapshots/usage_age.ts";
import type { Warn } from "../lib/base/warn.ts";
import { AUTO, COMMON_OPTIONS, DEFAULT_ROOT, DRIVER_NAMES, DRIVERS } from "./names.ts";

/** The keys of the options that every driver has. */
const COMMON_KEYS = COMMON_OPTIONS.map(({ key }) => key);

/** The options for opening a store. */
export interface OpenOptions {
  /** The directory of the stores, created if it is missing; `/var/lib/veneer` by default. */
  readonly root?: string;
  /**
   * A driver's name, such as `"overlay2"`; or `"auto"`, the default, for the driver of the store at
   * `root` or, if there is no store, the first driver that can run there.
   */
  readonly driver?: string;
  /** The driver's options, each as `key=value`, such as `"overlay2.size=10G"`. */
  readonly options?: readonly string[];
  /** The maps between ids of containers and of this machine; {@linkcode IDENTITY} by default. */
  readonly idMaps?: IdMaps;
  /** Gets warnings of one line each; `console.warn` by default. */
  readonly warn?: Warn;
}

/** The options, with the defaults of those that were left out. */
export function completed(
  {
    root = DEFAULT_ROOT,
    driver = AUTO,
    options = [],
    idMaps = IDENTITY,
    warn = (message) => console.warn(message),
  }: OpenOptions,
): Required<OpenOptions> {
  return { root, driver, options, idMaps, warn };
}

/** Further options for opening a store of layers. */
export interface LayerOptions {
  /**
   * The treatment of other programs' mounts of layers: `"refuse"`, the default, refuses operations
   * that they obstruct; `"ignore"` treats them as Veneer's own, for a service that alone uses the
   * store.
   */
  readonly foreignUses?: ForeignUses;
}

/** A driver with its code. */
export type Driver = DriverDefinition & DriverCode;

/** Loads every driver. */
export function loadAll(): Promise<Driver[]> {
  return Promise.all(DRIVERS.map(load));
}

/**
 * Loads the driver of a name. For `auto`, loads the drivers of the existing stores or, if there are
 * none, all drivers. For an unknown name, loads all drivers, too.
 */
export function loadFor(name: string, stores: readonly string[]): Promise<Driver[]> {
  const wanted = name === AUTO ? stores : [name];
  const named = DRIVERS.filter((driver) => wanted.includes(driver.name));
  return named.length === 0 ? loadAll() : Promise.all(named.map(load));
}

async function load(definition: DriverDefinition): Promise<Driver> {
  return { ...definition, ...await definition.load() };
}

/**
 * Opens a store of layers, creating it if it is missing, and finishes the work of killed processes.
 *
 * Docker's own stores of `overlay2`, `btrfs`, `devicemapper` and `aufs` are such stores. This needs
 * root and `--allow-all`.
 *
 * @example A layer from a tar, and another one on it
 * ```ts no-eval
 * import { openDriver } from "@veneer/veneer";
 *
 * using layers = await openDriver({ root: "/srv/layers" });
 * layers.create("base");
 * layers.applyDiff("base", undefined, "base.tar.gz");
 * layers.create("app", { parent: "base" });
 * const root = layers.get("app");
 * Deno.writeTextFileSync(`${root}/hello`, "hello\n");
 * layers.put("app");
 * for (const { kind, path } of layers.changes("app", undefined)) console.log(kind, path);
 * layers.diff("app", undefined, "app.tar");
 * ```
 *
 * @throws {VeneerError} `incompatible` if the store is another driver's, `not supported` if the
 * driver cannot run here, `invalid argument` for an unknown option
 */
export async function openDriver(options: OpenOptions & LayerOptions = {}): Promise<GraphDriver> {
  const { root, driver } = completed(options);
  const stores = priorStores(root);
  return openLayers(await loadFor(driver, stores), options, stores);
}

/** The same for a service that alone uses the store. */
export async function openForEngine(options: OpenOptions): Promise<EngineStore> {
  const { root, driver } = completed(options);
  const stores = priorStores(root);
  return openLayers(await loadFor(driver, stores), { ...options, foreignUses: "ignore" }, stores);
}

/** The same with drivers that are already loaded. */
export function openLayers(
  drivers: readonly Driver[],
  open: OpenOptions & LayerOptions,
  stores?: readonly string[],
): Graph {
  const { root, driver: name, options, idMaps, warn } = completed(open);
  const { given, sync, workers, inflater, record } = parseStoreOptions(options);
  const driver = choose(drivers, name, stores ?? priorStores(root), root);
  const own = ownOptions(given, driver);
  const backend = driver.open({ root, options: own, idMaps, warn });
  return new Graph({
    backend,
    port: kernelMountPort,
    warn,
    sync,
    workers,
    inflater,
    record,
    foreignUses: open.foreignUses,
  });
}

/** Reads the options that every driver has, and refuses options that no driver has. */
export function parseStoreOptions(options: readonly string[]) {
  const given = parseOptions(options);
  checkKnown(given, [...COMMON_KEYS, ...DRIVERS.flatMap((d) => d.optionKeys)], "the store");
  return {
    given,
    sync: parseSync(given.get("sync")),
    workers: parseWorkers(given.get("workers")),
    inflater: parseInflater(given.get("inflate")),
    record: parseRecord(given.get("record")),
    limits: parseLimits(given),
    usageAge: parseUsageAge(given.get(USAGE_AGE_OPTION)),
    isRemapped: parseRemap(given.get(REMAP_OPTION)),
  };
}

/** The options of one driver. Options of other drivers are refused. */
export function ownOptions(
  given: ReadonlyMap<string, string>,
  { name, optionKeys }: DriverDefinition,
): ReadonlyMap<string, string> {
  const own = new Map([...given].filter(([key]) => !COMMON_KEYS.includes(key)));
  checkKnown(own, optionKeys, name);
  return own;
}

function choose(
  drivers: readonly Driver[],
  name: string,
  stores: readonly string[],
  root: string,
): Driver {
  if (name === AUTO) return chooseAmong(drivers, stores, root);
  const driver = find(drivers, name);
  checkStores(name, stores, root);
  return driver;
}

/** @throws {VeneerError} `incompatible` if the stores at a root are other drivers' */
export function checkStores(name: string, stores: readonly string[], root: string): void {
  if (stores.length === 0 || stores.includes(name)) return;
  throw new VeneerError(
    "incompatible",
    `${root} has a store of ${stores.join(" and ")}, not of ${name}`,
    { remedy: { kind: "driver", among: stores } },
  );
}

/** The driver of the only store, or without a store the first driver that can run. */
export function chooseAmong(
  drivers: readonly Driver[],
  stores: readonly string[],
  where: string,
): Driver {
  if (stores.length > 1) {
    throw new VeneerError(
      "incompatible",
      `${where} has stores of ${stores.join(" and ")}`,
      { remedy: { kind: "driver", among: stores } },
    );
  }
  return stores.length === 1 ? find(drivers, stores[0]) : firstThatRuns(drivers, where);
}

/** The drivers that have layers at a root. */
export function priorStores(root: string): string[] {
  return DRIVERS
    .filter(({ layerDirectory }) =>
      names(join(root, layerDirectory)).some((name) => isId(name) && name !== "l")
    )
    .map(({ name }) => name);
}

/** The driver of a name. @throws {VeneerError} `usage` with the nearest one */
export function find(drivers: readonly Driver[], name: string): Driver {
  const driver = drivers.find((driver) => driver.name === name);
  if (driver !== undefined) return driver;
  throw new VeneerError("usage", `there is no driver ${name}; ${suggestion(name, DRIVER_NAMES)}`);
}

function firstThatRuns(drivers: readonly Driver[], root: string): Driver {
  const runs = drivers.find((driver) =>
    driver.examine(root).every(({ state }) => state !== "missing")
  );
  if (runs === undefined) {
    throw new VeneerError("not supported", `no driver runs at ${root}`, {
      remedy: { kind: "examine" },
    });
  }
  return runs;
}

function parseRecord(value: string | undefined): RecordKind {
  if (value === undefined) return DEFAULT_RECORD;
  if (value === "none" || value === "sizes" || value === "hash") return value;
  throw new VeneerError(
    "invalid argument",
    `record ${JSON.stringify(value)}: it must be none, sizes or hash`,
  );
}

function parseWorkers(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (value === "0" || value === "1") return Number(value);
  throw new VeneerError("invalid argument", `workers ${JSON.stringify(value)}: it must be 0 or 1`);
}
