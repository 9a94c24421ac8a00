/**
 * A driver from outside: a light definition, and the driver's code, which is loaded when a store is
 * opened with it.
 *
 * @module
 */
import type { VeneerError } from "../lib/base/errors.ts";
import type { LayerBackend } from "../lib/graph/backend.ts";
import type { IdMaps } from "../lib/base/id_maps.ts";
import type { DriverChecks } from "../lib/care/structure.ts";
import type { Warn } from "../lib/base/warn.ts";
import type { SnapshotBackend } from "../lib/snapshots/backend.ts";

/** The settings for opening a driver. */
export interface DriverContext {
  /** The store's root; the driver's home is `<root>/<name>`. */
  readonly root: string;
  /** Every `-o` option that names this driver, keys in lower case and known. */
  readonly options: ReadonlyMap<string, string>;
  readonly idMaps: IdMaps;
  /** Gets warnings of one line each. */
  readonly warn: Warn;
}

/** One thing a driver needs, and whether it is there. */
export interface Finding {
  /** `missing` keeps the driver from running; `limited` takes something away. */
  readonly state: "ok" | "limited" | "missing";
  /** The requirement and the state that was found. */
  readonly what: string;
  /** The remedy. */
  readonly remedy?: string;
}

/** The finding that something keeps the driver from running, from an error `reason; remedy`. */
export function missing(problem: VeneerError): Finding {
  const [what, ...rest] = problem.message.split("; ");
  return { state: "missing", what, remedy: rest.join("; ") || undefined };
}

/** An option as help and completions tell it. */
export interface OptionHelp {
  readonly key: string;
  /** How help writes its value, such as `SIZE`. */
  readonly value: string;
  /** Its value is one of these. */
  readonly choices?: readonly string[];
  readonly summary: string;
}

/** The options of a driver. */
export interface DriverHelp {
  /** Of `-o`. */
  readonly options: readonly OptionHelp[];
  /** Of layers: `--storage-opt`. */
  readonly storageOptions: readonly OptionHelp[];
}

/** The values of an option that is on or off. */
export const BOOLEAN: Pick<OptionHelp, "value" | "choices"> = {
  value: "true|false",
  choices: ["true", "false"],
};

/**
 * A driver, as `names.ts` lists it. A definition imports no code of its driver but by
 * {@linkcode load}: the command line reads all definitions for every command.
 */
export interface DriverDefinition {
  /** The name in options and messages. The driver's home is `<root>/<name>`. */
  readonly name: string;
  /** One line, for help. */
  readonly summary: string;
  /**
   * The directory below `<root>` in which the driver's layout, Docker's, lists its layers: marks a
   * store.
   */
  readonly layerDirectory: string;
  /** The keys of its `-o` options, such as `overlay2.size`. */
  readonly optionKeys: readonly string[];
  /** Loads the help on its options; without it help has their keys alone. */
  loadHelp?(): Promise<DriverHelp>;
  /** Loads its code. */
  load(): Promise<DriverCode>;
  /** Loads its checks of what is damaged on disk, which need no part of its other code. */
  loadChecks?(): Promise<DriverChecks>;
}

/** The code of a driver. */
export interface DriverCode {
  /**
   * Examines this kernel and the file system at `root` (or its nearest existing parent); changes
   * nothing.
   */
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
