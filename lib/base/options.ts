/**
 * Options given as `key=value`: to a driver (`-o overlay2.size=10G`) and to a layer
 * (`--storage-opt size=1G`).
 *
 * @module
 */
import { levenshteinDistance } from "@std/text";
import { VeneerError } from "./errors.ts";

/**
 * Reads `key=value` texts; keys come back in lower case, and a later one wins.
 *
 * @throws {VeneerError} `invalid argument` for a text without `=` or key
 */
export function parseOptions(texts: readonly string[], what = "option"): Map<string, string> {
  const options = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf("=");
    const key = text.slice(0, Math.max(at, 0)).trim().toLowerCase();
    if (key === "") {
      throw new VeneerError(
        "invalid argument",
        `${what} ${JSON.stringify(text)}: write it as KEY=VALUE`,
      );
    }
    options.set(key, text.slice(at + 1).trim());
  }
  return options;
}

/**
 * Refuses keys that are not known.
 *
 * @param whose the owner of the options for the message, such as `"overlay2"`
 * @throws {VeneerError} `invalid argument` with the nearest known key
 */
export function checkKnown(
  options: ReadonlyMap<string, string>,
  known: readonly string[],
  whose: string,
): void {
  for (const key of options.keys()) {
    if (known.includes(key)) continue;
    const fact = `${whose} has no option ${key}`;
    if (known.length > MOST_LISTED && nearest(key, known) === undefined) {
      throw new VeneerError("invalid argument", fact, { remedy: { kind: "list options" } });
    }
    throw new VeneerError("invalid argument", `${fact}; ${suggestion(key, known)}`);
  }
}

/** More options than a message can name. */
const MOST_LISTED = 8;

/**
 * The value of a yes-or-no option.
 *
 * @throws {VeneerError} `invalid argument` for any other text
 */
export function parseBoolean(text: string, name: string): boolean {
  const value = text.toLowerCase();
  if (["true", "1", "t"].includes(value)) return true;
  if (["false", "0", "f"].includes(value)) return false;
  throw new VeneerError(
    "invalid argument",
    `${name} ${JSON.stringify(text)}: it must be true or false`,
  );
}

/**
 * `did you mean X?`, or a list of all if no word is near. A near word differs in at most two
 * letters or a third of the longer word, and in less than half of it.
 */
export function suggestion(word: string, known: readonly string[]): string {
  if (known.length === 0) return "it has none";
  const near = nearest(word, known);
  if (near !== undefined) return `did you mean ${near}?`;
  return known.length === 1 ? `there is only ${known[0]}` : `there are ${known.join(", ")}`;
}

/** The near word; `undefined` if there is none. */
function nearest(word: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((name) => ({ name, distance: levenshteinDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  const length = Math.max(word.length, best.name.length);
  const isNear = best.distance <= Math.max(2, length / 3) && best.distance < length / 2;
  return isNear ? best.name : undefined;
}
