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
  load: () => import("./driver.ts"),
};
