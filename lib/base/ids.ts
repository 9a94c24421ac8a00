/**
 * Layer ids. They become file names, so their rule is defined here and nowhere else.
 *
 * @module
 */
import { VeneerError } from "./errors.ts";

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

const DOCKER_ID = /^[0-9a-f]{64}$/;

/** In bytes, so that suffixes and prefixes of drivers still fit a file name of 255. */
const MAX_ID_LENGTH = 200;

/** Whether a text could be a layer's id. */
export function isId(text: string): boolean {
  return text.length <= MAX_ID_LENGTH && ID.test(text);
}

/** Whether a text has the form of Docker's ids of images and containers, and of its digests. */
export function isDockerId(text: string): boolean {
  return DOCKER_ID.test(text);
}

/** @throws {VeneerError} `invalid argument` with the rule that a text breaks */
export function checkId(text: string): void {
  if (isId(text)) return;
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
  const rule = text.length > MAX_ID_LENGTH
    ? `it has ${text.length} characters, ${MAX_ID_LENGTH} are allowed`
    : "it must be letters, digits, '_', '.' and '-', the first a letter or digit";
  throw new VeneerError("invalid argument", `layer id ${shown}: ${rule}`);
}

/**
 * The id that a text names: itself, or the only id that begins with it.
 *
 * @throws {VeneerError} `not found` if none does, `invalid argument` if several do
 */
export function resolveId(text: string, ids: readonly string[]): string {
  checkId(text);
  if (ids.includes(text)) return text;
  const matches = ids.filter((id) => id.startsWith(text));
  if (matches.length === 1) return matches[0];
  if (matches.length === 0) throw layerNotFound(text);
  const some = matches.slice(0, 3).join(", ") + (matches.length > 3 ? ", …" : "");
  throw new VeneerError(
    "invalid argument",
    `layer id ${text}: it could be ${some}; write more of it`,
  );
}

/** The error for a layer that does not exist. */
export function layerNotFound(id: string): VeneerError {
  return new VeneerError("not found", `layer ${id} does not exist`, {
    remedy: { kind: "list", of: "layers" },
  });
}
