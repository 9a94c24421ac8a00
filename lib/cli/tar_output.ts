/**
 * The output of a command that writes a tar: a file, or standard output.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { Options } from "./parse.ts";

/**
 * The path of `--output`; `-`, the default, is standard output.
 *
 * @throws {VeneerError} `usage` if standard output is a terminal
 */
export function tarOutput(options: Options): string {
  const file = options.value("output") ?? "-";
  if (file === "-" && Deno.stdout.isTerminal()) {
    throw new VeneerError("usage", "a tar is not for a terminal; write it to a file with -o FILE");
  }
  return file;
}
