/**
 * Labels as the command line writes them.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";

/**
 * Reads `KEY=VALUE` words; a later one wins. A label without a value is the same as none.
 *
 * @throws {VeneerError} `invalid argument` for a word without `=` or key
 */
export function parseLabels(words: readonly string[]): Map<string, string> {
  return new Map(words.map((word) => {
    const at = word.indexOf("=");
    if (at > 0) return [word.slice(0, at), word.slice(at + 1)];
    throw new VeneerError(
      "invalid argument",
      `label ${JSON.stringify(word)}: write it as KEY=VALUE, or KEY= for none`,
    );
  }));
}
