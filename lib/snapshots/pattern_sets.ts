/**
 * Sets of characters in regular expressions. A set is written as a class of JavaScript's with the flag `u`, which
 * knows Unicode's properties and how letters fold.
 *
 * @module
 */

/** A test of one character, given as a code point. */
export type CharacterTest = (codePoint: number) => boolean;

/** Of `[[:name:]]`, as they stand in a class of JavaScript's. */
export const POSIX: ReadonlyMap<string, string> = new Map([
  ["alnum", "0-9A-Za-z"],
  ["alpha", "A-Za-z"],
  ["ascii", "\\x00-\\x7f"],
  ["blank", "\\t "],
  ["cntrl", "\\x00-\\x1f\\x7f"],
  ["digit", "0-9"],
  ["graph", "!-~"],
  ["lower", "a-z"],
  ["print", " -~"],
  ["punct", "!-\\/:-@\\[-`{-~"],
  ["space", "\\t-\\r "],
  ["upper", "A-Z"],
  ["word", "0-9A-Za-z_"],
  ["xdigit", "0-9A-Fa-f"],
]);

/** Of `\d` and its like. */
export const PERL: ReadonlyMap<string, string> = new Map([
  ["d", "0-9"],
  ["s", "\\t\\n\\f\\r "],
  ["w", "0-9A-Za-z_"],
]);

/** The set of all characters from one to another, given as code points. */
export const rangeSet = (first: number, last: number): string =>
  `[\\u{${first.toString(16)}}-\\u{${last.toString(16)}}]`;

/**
 * The set of characters with a property, a category of one or two letters or a script.
 *
 * @throws {SyntaxError} where Unicode has none of the name
 */
export function propertySet(name: string, isNegated: boolean): string {
  if (name === "Any") return isNegated ? "[]" : "[^]";
  // Negated outside of the property, so that letters fold before and not after.
  const set = `[${isNegated ? "^" : ""}\\p{${name.length <= 2 ? "gc" : "sc"}=${name}}]`;
  try {
    new RegExp(set, "u");
  } catch {
    throw new SyntaxError(`there are no characters called ${name}`);
  }
  return set;
}

/** A test for characters of any of some sets, or of none of them; capitals may stand for small letters. */
export function setTest(
  sets: readonly string[],
  { isNegated, ignoreCase }: { isNegated: boolean; ignoreCase: boolean },
): CharacterTest {
  const forms = sets.map((set) => new RegExp(`^${set}$`, ignoreCase ? "iu" : "u"));
  const test = (codePoint: number) =>
    forms.some((form) => form.test(String.fromCodePoint(codePoint))) !== isNegated;
  const ascii = Uint8Array.from({ length: 0x80 }, (_, codePoint) => Number(test(codePoint)));
  return (codePoint) => codePoint < 0x80 ? ascii[codePoint] === 1 : test(codePoint);
}
