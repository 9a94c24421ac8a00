/**
 * The devicemapper driver's definition.
 *
 * @module
 */
import type { DriverDefinition } from "../definition.ts";
import { OPTION_KEYS } from "./option_keys.ts";

export const devicemapper: DriverDefinition = {
  name: "devicemapper",
  summary: "thin devices of a pool, each with a file system",
  layerDirectory: "devicemapper/metadata",
  optionKeys: OPTION_KEYS,
  loadHelp: async () => (await import("./option_help.ts")).HELP,
  load: () => import("./driver.ts"),
  loadChecks: () => import("./check.ts"),
};
