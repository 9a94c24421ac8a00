/**
 * Regular expressions, taken apart.
 *
 * @module
 */
import type { CharacterTest } from "./pattern_sets.ts";

/** What a place in the text must be. */
export type Assertion = "text start" | "text end" | "line start" | "line end" | "word" | "no word";

/** A regular expression, taken apart. */
export type Pattern =
  | { readonly kind: "character"; readonly test: CharacterTest }
  | { readonly kind: "assertion"; readonly assertion: Assertion }
  | { readonly kind: "sequence"; readonly parts: readonly Pattern[] }
  | { readonly kind: "alternatives"; readonly parts: readonly Pattern[] }
  | {
    readonly kind: "repetition";
    readonly part: Pattern;
    readonly min: number;
    /** `Infinity` for no limit. */
    readonly max: number;
  };

/** How often something may be repeated by numbers, also one repetition within another. */
export const MAX_REPEAT = 1000;

/** A pattern again and again. @throws {SyntaxError} where that is too often */
export function repeated(part: Pattern, [min, max]: readonly [number, number]): Pattern {
  const pattern: Pattern = { kind: "repetition", part, min, max };
  if (copies(pattern) > MAX_REPEAT) {
    throw new SyntaxError(`repetitions within each other come to more than ${MAX_REPEAT}`);
  }
  return pattern;
}

/** How often the most repeated part of a pattern is written out. */
function copies(pattern: Pattern): number {
  switch (pattern.kind) {
    case "sequence":
    case "alternatives":
      return pattern.parts.reduce((most, part) => Math.max(most, copies(part)), 1);
    case "repetition": {
      const { min, max, part } = pattern;
      return Math.max(max === Infinity ? min : max, 1) * copies(part);
    }
    default:
      return 1;
  }
}
