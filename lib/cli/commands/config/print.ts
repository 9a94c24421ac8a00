/**
 * Prints a configuration.
 *
 * @module
 */
import type { CommandContext } from "../context.ts";

/** Prints a file's text unchanged, or with `--json` as a member of an object. */
export function printConfiguration({ output }: CommandContext, text: string): void {
  output.result({ text }, () => text.trimEnd().split("\n"));
}
