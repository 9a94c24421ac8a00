/**
 * The form in which commands show the findings of checks, and the choice of findings by operands.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { resolveId } from "../base/ids.ts";
import { escapePath } from "../base/printable.ts";
import type { Finding } from "../care/finding.ts";
import { isLoss } from "../care/mending.ts";
import type { Output } from "./output.ts";

/** The most names of a kind in a line; `--json` has more. */
const MOST_NAMED = 3;

/**
 * Returns a filter for the layers and snapshots that words name, in full or by a unique prefix.
 * Without words it accepts all.
 *
 * @param names all layers and snapshots
 * @throws {VeneerError} `not found`
 */
export function namedIds(
  words: readonly string[],
  names: Iterable<string>,
  output: Output,
): (id: string) => boolean {
  if (words.length === 0) return () => true;
  const all = new Set(names);
  const ids = new Set(words.map((word) => {
    if (all.has(word)) return word;
    if (!output.json) return resolveId(word, [...all]);
    throw new VeneerError("not found", `layer ${word} does not exist`, {
      remedy: { kind: "list", of: "layers" },
    });
  }));
  return (id) => ids.has(id);
}

/**
 * Returns a filter for the findings that a command works on: those that break the layers and
 * snapshots that words name. The parameters and errors are those of {@linkcode namedIds}.
 */
export function aboutOperands(
  words: readonly string[],
  names: Iterable<string>,
  output: Output,
): (finding: Finding) => boolean {
  const isNamed = namedIds(words, names, output);
  return ({ breaks, layer }) =>
    words.length === 0 || breaks.layers.some(isNamed) || isNamed(layer ?? "");
}

/** A finding on one line. */
export function findingLine({ kind, file, what, breaks, remedy, isNote }: Finding): string {
  const broken = [
    ["layer", breaks.layers] as const,
    ["container", breaks.containers] as const,
    ["image", breaks.images] as const,
  ].filter(([, names]) => names.length > 0).map(([thing, names]) => someNames(thing, names));
  const effect = broken.length === 0 ? "breaks nothing" : `breaks ${broken.join(", ")}`;
  return escapePath(`${isNote ? "note: " : ""}${kind}: ${file} ${what}; ${effect}; ${remedy}`);
}

/** A finding that was mended, or would be, on one line. */
export const mendedLine = ({ kind, file, what, remedy }: Finding, isDry: boolean): string =>
  escapePath(
    isDry ? `would mend ${kind}: ${file} ${what}; ${remedy}` : `${kind}: ${file} ${what}: done`,
  );

/** A finding in JSON. */
export function findingObject(found: Finding) {
  const { layer = null, isNote = false, repair, ...finding } = found;
  const repairWord = repair === undefined ? null : isLoss(found) ? "quarantine" : "mend";
  return { ...finding, layer, isNote, repair: repairWord };
}

/** Names of things in a line: `layers a, b, c and 4 more`. */
export function someNames(thing: string, names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).join(", ");
  const more = names.length - MOST_NAMED;
  return `${thing}${names.length === 1 ? "" : "s"} ${shown}${more > 0 ? ` and ${more} more` : ""}`;
}
