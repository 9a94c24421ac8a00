/**
 * The option `sync`: how much is written to disk before an apply or a commit counts as complete.
 *
 * @module
 */
import { VeneerError } from "./errors.ts";

/**
 * - `none`: nothing; the kernel writes content when it likes;
 * - `layer`: the layer itself;
 * - `filesystem`: all of the file system that the store is on.
 */
export type SyncMode = "none" | "layer" | "filesystem";

/** Every mode, as help and completions tell them. */
export const SYNC_MODES: readonly SyncMode[] = ["none", "layer", "filesystem"];

/** Reads the option. @throws {VeneerError} `invalid argument` with its rule */
export function parseSync(text = "none"): SyncMode {
  const mode = SYNC_MODES.find((name) => name === text);
  if (mode !== undefined) return mode;
  throw new VeneerError(
    "invalid argument",
    `sync ${JSON.stringify(text)}: it must be none, layer or filesystem`,
  );
}
