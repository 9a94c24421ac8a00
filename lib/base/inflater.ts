/**
 * The option `inflate`: what decompresses tars.
 *
 * @module
 */
import { VeneerError } from "./errors.ts";

/**
 * - `auto`: ISA-L and libzstd, which are faster, if the host has them;
 * - `runtime`: the runtime alone.
 */
export type Inflater = "auto" | "runtime";

/** Every choice, as help and completions show it. */
export const INFLATERS: readonly Inflater[] = ["auto", "runtime"];

/** Reads the option. @throws {VeneerError} `invalid argument` with its rule */
export function parseInflater(text = "auto"): Inflater {
  const inflater = INFLATERS.find((name) => name === text);
  if (inflater !== undefined) return inflater;
  throw new VeneerError(
    "invalid argument",
    `inflate ${JSON.stringify(text)}: it must be auto or runtime`,
  );
}
