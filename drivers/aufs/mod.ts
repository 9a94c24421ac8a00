/**
 * The aufs driver's definition.
 *
 * @module
 */
import type { DriverDefinition } from "../definition.ts";

export const aufs: DriverDefinition = {
  name: "aufs",
  summary: "aufs over directories, for kernels that have it",
  layerDirectory: "aufs/layers",
  optionKeys: [],
  loadHelp: () => Promise.resolve({ options: [], storageOptions: [] }),
  load: () => import("./driver.ts"),
  loadChecks: () => import("./check.ts"),
};
