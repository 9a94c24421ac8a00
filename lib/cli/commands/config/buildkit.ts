/**
 * `veneer config buildkit`: prints the lines for buildkitd's configuration.
 *
 * @module
 */
import { buildkitConfiguration } from "../../../services/configuration/buildkit.ts";
import type { Run } from "../context.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

/**
 * The defaults name another service than containerd's, since each engine removes unknown snapshots
 * from its store.
 */
const DEFAULTS = { address: "/run/veneer/buildkit.sock", name: "buildkit" };

export const run: Run = (context) => {
  printConfiguration(context, buildkitConfiguration(serviceOf(context, DEFAULTS)));
};
