/**
 * The interface of a driver: a light definition, and the driver's code, which is loaded when a
 * store is opened with it.
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

/** One requirement of a driver, and whether it is met. */
export interface Finding {
  /** `missing`: the driver cannot run; `limited`: it runs with fewer features. */
  readonly state: "ok" | "limited" | "missing";
  /** The requirement and the state that was found. */
  readonly what: string;
  /** The remedy. */
  readonly remedy?: string;
}

/** The finding that the driver cannot run, made from an error's message, `reason; remedy`. */
export function missing(problem: VeneerError): Finding {
  const [what, ...rest] = problem.message.split("; ");
  return { state: "missing", what, remedy: rest.join("; ") || undefined };
}

/** An option, as help and completions show it. */
export interface OptionHelp {
  readonly key: string;
  /** The placeholder of its value in help, such as `SIZE`. */
  readonly value: string;
  /** The possible values, if there are only a few. */
  readonly choices?: readonly string[];
  readonly summary: string;
}

/** The options of a driver. */
export interface DriverHelp {
  /** Those of `-o`. */
  readonly options: readonly OptionHelp[];
  /** Those of layers, given with `--storage-opt`. */
  readonly storageOptions: readonly OptionHelp[];
}

/** The value and choices of an option that is on or off. */
export const BOOLEAN: Pick<OptionHelp, "value" | "choices"> = {
  value: "true|false",
  choices: ["true", "false"],
};

/**
 * A driver, as `names.ts` lists it. A definition imports its driver's code only in its `load…`
 * functions, because every command reads all definitions.
 */
export interface DriverDefinition {
  /** The name in options and messages. The driver's home is `<root>/<name>`. */
  readonly name: string;
  /** One line, for help. */
  readonly summary: string;
  /**
   * The directory below `<root>` that has an entry for each layer in the driver's layout, which is
   * Docker's. A root with layers there has a store of this driver.
   */
  readonly layerDirectory: string;
  /** The keys of its `-o` options, such as `overlay2.size`. */
  readonly optionKeys: readonly string[];
  /** Loads the help on its options; if it is missing, help shows their keys alone. */
  loadHelp?(): Promise<DriverHelp>;
  /** Loads its code. */
  load(): Promise<DriverCode>;
  /** Loads its checks for damage on disk, which need no part of its other code. */
  loadChecks?(): Promise<DriverChecks>;
}

/** The code of a driver. */
export interface DriverCode {
  /**
   * Examines this kernel and the file system of `root` (or of its nearest existing parent). Changes
   * nothing.
   */
  examine(root: string): Finding[];
  /**
   * Opens the home, making it if it is missing.
   *
   * @throws `not supported`, `incompatible`, `invalid argument`
   */
  open(context: DriverContext): LayerBackend;
  /** The same for the home of snapshots, `<root>/snapshots/<name>`. */
  openSnapshots(context: DriverContext): SnapshotBackend;
}
