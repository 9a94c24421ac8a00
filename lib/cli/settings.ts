/**
 * The settings of a command's store, and the origin of each. An option on the command line has
 * precedence over the environment, that over the configuration file, and that over the default.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { suggestion } from "../base/options.ts";
import { AUTO, DEFAULT_ROOT } from "../../drivers/names.ts";
import { CONFIG_FILE, type ConfigFile, readConfigFile } from "./config_file.ts";
import type { Options } from "./parse.ts";

/** A setting, under the name of its option. */
export interface Setting {
  readonly name: string;
  readonly values: readonly string[];
  /** Its origin, in words for users. */
  readonly from: string;
}

/** The settings with an environment variable. */
const VARIABLES: Readonly<Record<string, string>> = {
  root: "VENEER_ROOT",
  driver: "VENEER_DRIVER",
  store: "VENEER_STORE",
};

/** The settings, by their options' names, with their keys in the file. */
const KEYS: Readonly<Record<string, string>> = {
  root: "root",
  driver: "driver",
  option: "options",
  uidmap: "uidmap",
  gidmap: "gidmap",
};

/**
 * The setting whose values of all sources are used together; later values override earlier ones.
 */
const GATHERED = "option";

const DEFAULTS: Readonly<Record<string, string>> = { root: DEFAULT_ROOT, driver: AUTO };

/**
 * Returns the settings of a command.
 *
 * @param without the names of settings that are left to the command
 * @throws {VeneerError} `not found` if a file or a store that was named is missing; also the errors
 * of {@linkcode readConfigFile}
 */
export async function readSettings(
  options: Options,
  without: readonly string[] = [],
): Promise<Setting[]> {
  const named = options.value("config");
  const file = await readConfigFile(named ?? CONFIG_FILE);
  if (file === undefined && named !== undefined) {
    throw new VeneerError("not found", `the configuration file ${named} is missing`);
  }
  const store = storeOf(options, file);
  return Object.entries(KEYS).filter(([name]) => !without.includes(name)).map(([name, key]) => {
    const sources = [...sourcesOf(name, key, options, file, store)];
    const [first] = sources;
    if (name !== GATHERED || sources.length < 2) {
      return first ?? { name, values: [DEFAULTS[name]].filter(Boolean), from: "the default" };
    }
    return {
      name,
      values: sources.toReversed().flatMap(({ values }) => values),
      from: sources.map(({ from }) => from).join(", "),
    };
  });
}

/** The sources of a setting; those with precedence come first. */
function* sourcesOf(
  name: string,
  key: string,
  options: Options,
  file: ConfigFile | undefined,
  store: string | undefined,
): Generator<Setting> {
  const given = options.values(name);
  if (given.length > 0) yield { name, values: given, from: `--${name}` };
  const variable = VARIABLES[name], value = variableOf(name);
  if (value !== undefined) yield { name, values: [value], from: variable };
  const ofStore = store === undefined ? undefined : file?.stores[store]?.[key];
  if (ofStore !== undefined) {
    yield { name, values: ofStore, from: `${file!.path}, [stores.${store}]` };
  }
  const own = file?.own[key];
  if (own !== undefined) yield { name, values: own, from: file!.path };
}

/** The value of a setting's variable. An empty variable counts as not set. */
function variableOf(name: string): string | undefined {
  const variable = VARIABLES[name];
  return variable === undefined ? undefined : Deno.env.get(variable) || undefined;
}

/** The name of the store's table, if a store was named. */
function storeOf(options: Options, file: ConfigFile | undefined): string | undefined {
  const store = options.value("store") ?? variableOf("store");
  if (store === undefined || file?.stores[store] !== undefined) return store;
  const shown = JSON.stringify(store);
  if (file === undefined) {
    throw new VeneerError(
      "not found",
      `store ${shown} is not configured: ${CONFIG_FILE} is missing; name another file with --config`,
    );
  }
  const names = Object.keys(file.stores);
  const hint = names.length === 0 ? "it has no [stores.NAME]" : suggestion(store, names);
  throw new VeneerError("not found", `${file.path} has no store ${shown}; ${hint}`);
}

/** Returns options with the values of the settings. */
export function completedOptions(options: Options, settings: readonly Setting[]): Options {
  return options.with(
    Object.fromEntries(settings.map(({ name, values }) => [name, values])),
  );
}
