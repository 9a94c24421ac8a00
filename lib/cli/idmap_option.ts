/**
 * The option `--idmap` of commands that mount.
 *
 * @module
 */
import type { OptionSpec } from "./spec.ts";

export const IDMAP: OptionSpec = {
  name: "idmap",
  value: "CONTAINER:HOST:SIZE",
  repeatable: true,
  summary: "have the mount map ids; with u: or g: before it those of users or groups",
};

/** The help about it. */
export const IDMAP_DETAILS =
  "With --idmap 0:100000:65536 root's files are seen, and made, as those of 100000; on disk they stay root's, so that\n" +
  "containers of other maps can use them. Ids outside of the map are seen as 65534.";
