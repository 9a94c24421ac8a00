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
  load: () => import("./driver.ts"),
};
