/**
 * The syntax of regular expressions that a filter may have: Go's, which is RE2's.
 *
 * What is there: literals, `.`, classes with ranges and names (`[a-z]`, `[[:alpha:]]`, `\d`, `\pL`, `\p{Greek}`),
 * `*`, `+`, `?`, `{n,m}` (up to 1000) and their lazy forms, groups with and without names, alternatives, `^`, `$`,
 * `\A`, `\z`, `\b`, `\B`, the flags `i`, `m`, `s`, `U`, and `\Q…\E`. `\d`, `\s`, `\w` and `\b` know ASCII only.
 * What RE2 has not is not here either: no references back, no looking ahead or behind, no possessive forms.
 *
 * An expression has at most {@linkcode MAX_LENGTH} characters, and comes to as many steps (`pattern.ts`).
 *
 * Greedy, lazy and capturing forms are the same here: it is only asked whether a text fits.
 *
 * @module
 */
import { type CharacterTest, PERL, POSIX, propertySet, rangeSet, setTest } from "./pattern_sets.ts";
import { type Assertion, MAX_REPEAT, type Pattern, repeated } from "./pattern_tree.ts";

/** Of an expression, in UTF-16 code units. */
const MAX_LENGTH = 5000;

/** How deep groups may be nested, as in Go. */
const MAX_DEPTH = 1000;

const CONTROLS: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["t", 9],
  ["n", 10],
  ["v", 11],
  ["f", 12],
  ["r", 13],
]);

interface Flags {
  /** `i` */
  readonly ignoreCase: boolean;
  /** `m` */
  readonly multiline: boolean;
  /** `s` */
  readonly dotAll: boolean;
}

/** Takes a regular expression apart. @throws {SyntaxError} with what is wrong */
export function parsePattern(text: string): Pattern {
  if (text.length > MAX_LENGTH) {
    throw new SyntaxError(`it has more than ${MAX_LENGTH} characters`);
  }
  return new Parser(text).parse();
}

const LIMITS = /\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}/uy;
const GROUP_NAME = /P?<([^>]*)>/uy;
const GROUP_FLAGS = /([imsU]*)(?:-([imsU]+))?([:)])/uy;
const PROPERTY = /([pP])(?:\{(\^?)(\w+)\}|([A-Z]))/uy;
const OCTAL = /0[0-7]{0,2}|[1-7][0-7]{1,2}/uy;
const HEX = /x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))/uy;
const POSIX_SET = /\[:(\^?)([^:\]]*):\]/uy;

class Parser {
  readonly #text: string;
  /** In UTF-16 code units. */
  #at = 0;
  #depth = 0;
  #flags: Flags = { ignoreCase: false, multiline: false, dotAll: false };

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Pattern {
    const pattern = this.#alternatives();
    if (this.#next !== undefined) throw new SyntaxError("there is a ) without a (");
    return pattern;
  }

  /** The character here; `undefined` at the end. */
  get #next(): string | undefined {
    const codePoint = this.#text.codePointAt(this.#at);
    return codePoint === undefined ? undefined : String.fromCodePoint(codePoint);
  }

  /** Goes past the character here, which is not the end. */
  #advance(): string {
    const character = this.#next!;
    this.#at += character.length;
    return character;
  }

  /** Goes past a text, where it is here. */
  #take(text: string): boolean {
    const is = this.#text.startsWith(text, this.#at);
    if (is) this.#at += text.length;
    return is;
  }

  /** Goes past what is here of a sticky form. */
  #match(form: RegExp): RegExpExecArray | null {
    form.lastIndex = this.#at;
    const found = form.exec(this.#text);
    if (found !== null) this.#at += found[0].length;
    return found;
  }

  #alternatives(): Pattern {
    const parts = [this.#sequence()];
    while (this.#take("|")) parts.push(this.#sequence());
    return parts.length === 1 ? parts[0] : { kind: "alternatives", parts };
  }

  #sequence(): Pattern {
    const parts: Pattern[] = [];
    while (this.#next !== undefined && this.#next !== "|" && this.#next !== ")") {
      if (this.#take("\\Q")) {
        parts.push(...this.#literals());
        continue;
      }
      const repeat = this.#repeat();
      if (repeat === undefined) {
        const part = this.#atom();
        if (part !== undefined) parts.push(part);
      } else {
        const part = parts.pop();
        if (part === undefined) throw new SyntaxError("there is nothing to repeat");
        parts.push(repeated(part, repeat));
        if (this.#repeat() !== undefined) throw new SyntaxError("a repetition is repeated");
      }
    }
    return { kind: "sequence", parts };
  }

  /** The characters up to `\E`. */
  *#literals(): Generator<Pattern> {
    while (this.#next !== undefined && !this.#take("\\E")) {
      yield this.#literal(this.#advance().codePointAt(0)!);
    }
  }

  /** How often what stands before is repeated, if that is said here. */
  #repeat(): readonly [min: number, max: number] | undefined {
    const range = this.#limits();
    if (range !== undefined) this.#take("?");
    return range;
  }

  #limits(): readonly [min: number, max: number] | undefined {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    // Anything else in braces stands for itself.
    const found = this.#match(LIMITS);
    if (found === null) return undefined;
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === undefined ? Infinity : Number(found[3]);
    if (min > MAX_REPEAT || max !== Infinity && max > MAX_REPEAT || min > max) {
      throw new SyntaxError(
        `${found[0]}: the numbers go up to ${MAX_REPEAT}, the lesser one first`,
      );
    }
    return [min, max];
  }

  /** One thing that can be repeated; `undefined` for flags. */
  #atom(): Pattern | undefined {
    const { multiline, dotAll } = this.#flags;
    const character = this.#advance();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#class();
      case "^":
        return { kind: "assertion", assertion: multiline ? "line start" : "text start" };
      case "$":
        return { kind: "assertion", assertion: multiline ? "line end" : "text end" };
      case ".":
        return { kind: "character", test: dotAll ? () => true : (c) => c !== 10 };
      case "\\":
        return this.#escaped();
      default:
        return this.#literal(character.codePointAt(0)!);
    }
  }

  #group(): Pattern | undefined {
    const outer = this.#flags;
    if (this.#take("?")) {
      const name = this.#match(GROUP_NAME)?.[1];
      if (name === undefined) {
        if (this.#setFlags() === ")") return undefined;
      } else if (!/^\w+$/.test(name)) {
        throw new SyntaxError(`a group cannot be named ${JSON.stringify(name)}`);
      }
    }
    if (++this.#depth > MAX_DEPTH) throw new SyntaxError("groups are nested too deep");
    const pattern = this.#alternatives();
    this.#depth--;
    if (!this.#take(")")) throw new SyntaxError("there is a ( without a )");
    this.#flags = outer;
    return pattern;
  }

  /** Reads what follows `(?`: flags up to `:` or `)`, which is returned. */
  #setFlags(): string {
    const found = this.#match(GROUP_FLAGS);
    if (found === null) {
      throw new SyntaxError("after (? there can be flags of imsU, or a name as in P<name>");
    }
    const [, on, off = "", end] = found;
    const { ignoreCase, multiline, dotAll } = this.#flags;
    const set = (flag: string, before: boolean) =>
      off.includes(flag) ? false : before || on.includes(flag);
    this.#flags = {
      ignoreCase: set("i", ignoreCase),
      multiline: set("m", multiline),
      dotAll: set("s", dotAll),
    };
    return end;
  }

  /** What a backslash begins, outside of a class. */
  #escaped(): Pattern {
    const assertions = new Map<string, Assertion>([
      ["A", "text start"],
      ["z", "text end"],
      ["b", "word"],
      ["B", "no word"],
    ]);
    const assertion = assertions.get(this.#next ?? "");
    if (assertion !== undefined) {
      this.#at++;
      return { kind: "assertion", assertion };
    }
    const set = this.#namedSet();
    return set === undefined
      ? this.#literal(this.#escape())
      : { kind: "character", test: this.#test([set], false) };
  }

  /** A set by name after a backslash, such as `d` or `p{Greek}`, as a class of JavaScript's. */
  #namedSet(): string | undefined {
    const perl = PERL.get(this.#next?.toLowerCase() ?? "");
    if (perl !== undefined) {
      const isNegated = this.#advance() < "a";
      return `[${isNegated ? "^" : ""}${perl}]`;
    }
    const property = this.#match(PROPERTY);
    if (property === null) return undefined;
    const [, p, negation, long, short] = property;
    return propertySet(long ?? short, (p === "P") !== (negation === "^"));
  }

  /** The character that an escape stands for, after its backslash. */
  #escape(): number {
    const octal = this.#match(OCTAL);
    if (octal !== null) return Number.parseInt(octal[0], 8);
    const hex = this.#match(HEX);
    if (hex !== null) {
      const value = Number.parseInt(hex[1] ?? hex[2], 16);
      if (value <= 0x10ffff) return value;
    }
    const character = this.#next;
    const control = CONTROLS.get(character ?? "");
    if (hex === null && control !== undefined) {
      this.#at++;
      return control;
    }
    // Marks stand for themselves; any other letter or digit is kept for what may come.
    const codePoint = character?.codePointAt(0) ?? 0x80;
    if (hex === null && codePoint < 0x80 && !/[0-9A-Za-z]/.test(character!)) {
      this.#at++;
      return codePoint;
    }
    throw new SyntaxError(`there is no escape \\${hex?.[0] ?? character ?? ""}`);
  }

  /** A class, after its opening bracket. */
  #class(): Pattern {
    const isNegated = this.#take("^");
    const sets: string[] = [];
    for (let isFirst = true; isFirst || this.#next !== "]"; isFirst = false) {
      if (this.#next === undefined) throw new SyntaxError("there is a [ without a ]");
      sets.push(this.#posix() ?? this.#setInClass() ?? this.#range());
    }
    this.#at++;
    return { kind: "character", test: this.#test(sets, isNegated) };
  }

  #posix(): string | undefined {
    const found = this.#match(POSIX_SET);
    if (found === null) return undefined;
    const set = POSIX.get(found[2]);
    if (set === undefined) throw new SyntaxError(`there are no characters called ${found[0]}`);
    return `[${found[1]}${set}]`;
  }

  #setInClass(): string | undefined {
    if (this.#next !== "\\") return undefined;
    this.#at++;
    const set = this.#namedSet();
    if (set === undefined) this.#at--;
    return set;
  }

  /** A character of a class, or all from one to another. */
  #range(): string {
    const first = this.#classCharacter();
    if (this.#next !== "-" || this.#text[this.#at + 1] === "]") return rangeSet(first, first);
    this.#at++;
    const last = this.#classCharacter();
    if (last < first) throw new SyntaxError("a range ends before it begins");
    return rangeSet(first, last);
  }

  #classCharacter(): number {
    if (this.#next === undefined) throw new SyntaxError("there is a [ without a ]");
    const character = this.#advance();
    return character === "\\" ? this.#escape() : character.codePointAt(0)!;
  }

  #test(sets: readonly string[], isNegated: boolean): CharacterTest {
    return setTest(sets, { isNegated, ignoreCase: this.#flags.ignoreCase });
  }

  #literal(codePoint: number): Pattern {
    const test = this.#flags.ignoreCase
      ? this.#test([rangeSet(codePoint, codePoint)], false)
      : (c: number) => c === codePoint;
    return { kind: "character", test };
  }
}
