/**
 * Parses labels of the command line.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";

/**
 * Parses `KEY=VALUE` words. Of several with the same key the last one counts. An empty value stands
 * for no label.
 *
 * @throws {VeneerError} `invalid argument` if a word has no `=` or no key
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
