/**
 * What a driver is to all that is not the driver: a definition, which is light, and its code, which is loaded when
 * a store is opened with it.
 *
 * @module
 */
import type { VeneerError } from "../lib/base/errors.ts";
import type { LayerBackend } from "../lib/graph/backend.ts";
import type { IdMaps } from "../lib/base/id_maps.ts";
import type { Warn } from "../lib/base/warn.ts";
import type { SnapshotBackend } from "../lib/snapshots/backend.ts";

/** What a driver is opened with. */
export interface DriverContext {
  /** The store's root; the driver's home is `<root>/<name>`. */
  readonly root: string;
  /** Every `-o` option that names this driver, keys in lower case and known. */
  readonly options: ReadonlyMap<string, string>;
  readonly idMaps: IdMaps;
  /** Told, in one line, what works less well than it could. */
  readonly warn: Warn;
}

/** One thing a driver needs, and whether it is there. */
export interface Finding {
  /** `missing` keeps the driver from running; `limited` takes something away. */
  readonly state: "ok" | "limited" | "missing";
  /** What was looked for and what was found. */
  readonly what: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** The finding that something keeps the driver from running, from an error `reason; remedy`. */
export function missing(problem: VeneerError): Finding {
  const [what, ...rest] = problem.message.split("; ");
  return { state: "missing", what, remedy: rest.join("; ") || undefined };
}

/**
 * A driver, as `names.ts` lists it. A definition imports no code of its driver but by {@linkcode load}: the command
 * line reads all definitions whatever it is asked for.
 */
export interface DriverDefinition {
  /** What `--driver` takes and messages say. The driver's home is `<root>/<name>`. */
  readonly name: string;
  /** One line, for help. */
  readonly summary: string;
  /** The directory below `<root>` in which the driver's layout, Docker's, lists its layers: marks a store. */
  readonly layerDirectory: string;
  /** The keys of its `-o` options, such as `overlay2.size`. */
  readonly optionKeys: readonly string[];
  /** Loads its code. */
  load(): Promise<DriverCode>;
}

/** What a driver does. */
export interface DriverCode {
  /** What this kernel and the file system at `root` (or its nearest existing parent) offer; changes nothing. */
  examine(root: string): Finding[];
  /**
   * Opens the home, making it if it is missing.
   *
   * @throws `not supported`, `incompatible`, `invalid argument`
   */
  open(context: DriverContext): LayerBackend;
  /** Opens the home of snapshots, `<root>/snapshots/<name>`, likewise. */
  openSnapshots(context: DriverContext): SnapshotBackend;
}
