/**
 * The btrfs driver's definition.
 *
 * @module
 */
import type { DriverDefinition } from "../definition.ts";
import { OPTION_KEYS } from "./option_keys.ts";

export const btrfs: DriverDefinition = {
  name: "btrfs",
  summary: "snapshots of btrfs subvolumes",
  layerDirectory: "btrfs/subvolumes",
  optionKeys: OPTION_KEYS,
  loadHelp: async () => (await import("./option_help.ts")).HELP,
  load: () => import("./driver.ts"),
  loadChecks: () => import("./check.ts"),
};
