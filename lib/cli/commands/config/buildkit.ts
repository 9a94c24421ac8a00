/**
 * `veneer config buildkit`: prints what buildkitd's configuration needs.
 *
 * @module
 */
import { buildkitConfiguration } from "../../../services/configuration/buildkit.ts";
import type { Run } from "../context.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

/** A service beside containerd's: each removes from its store what it does not know. */
const DEFAULTS = { address: "/run/veneer/buildkit.sock", name: "buildkit" };

export const run: Run = (context) => {
  printConfiguration(context, buildkitConfiguration(serviceOf(context, DEFAULTS)));
};
