/**
 * Changing one text in a container's `config.v2.json`, and not a byte beside it: numbers there are
 * larger than JavaScript's.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** A text of JSON with what follows it, or a bracket. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/gs;

/**
 * Replaces the value of a key of the outermost object, which must be a text.
 *
 * @param what the file, for messages
 * @throws {VeneerError} `corrupt store` if the key is not there once, or has no text
 */
export function withText(json: string, key: string, value: string, what: string): string {
  const found: [start: number, end: number][] = [];
  let depth = 0, before = "", last = "";
  for (const { 0: token, index } of json.matchAll(TOKEN)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && last === ":" && token.startsWith('"') && nameOf(before) === key) {
      found.push([index, index + token.length]);
    }
    if (token === ":") before = last;
    last = token;
  }
  if (found.length !== 1) {
    throw new VeneerError("corrupt store", `${what} has no text ${JSON.stringify(key)}`);
  }
  const [[start, end]] = found;
  return json.slice(0, start) + JSON.stringify(value) + json.slice(end);
}

/** The text of a key, which may be escaped in any way. */
function nameOf(token: string): string | undefined {
  try {
    return JSON.parse(token);
  } catch {
    return undefined;
  }
}
