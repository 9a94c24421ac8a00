/**
 * The overlay2 driver's definition.
 *
 * @module
 */
import type { DriverDefinition } from "../definition.ts";
import { OPTION_KEYS } from "./option_keys.ts";

export const overlay2: DriverDefinition = {
  name: "overlay2",
  summary: "the kernel's overlay over directories, for most file systems",
  layerDirectory: "overlay2",
  optionKeys: OPTION_KEYS,
  loadHelp: async () => (await import("./option_help.ts")).HELP,
  load: () => import("./driver.ts"),
  loadChecks: () => import("./check.ts"),
};
