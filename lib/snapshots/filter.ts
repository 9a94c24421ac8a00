/**
 * The language of the filters of `walk`, which is containerd's.
 *
 * ```text
 * filter    = selector { "," selector }          all of them fit; an empty filter fits everything
 * selector  = path [ operator value ]            without an operator: the field is there
 * path      = field { "." field }
 * field     = quoted | one or more of A-Z a-z 0-9 _
 * operator  = "==" | "!=" | "~="                 "~=": a regular expression, `pattern.ts`
 * value     = quoted | anything up to a "," or white space
 * quoted    = UTF-8 between two `"`, on one line, with escapes: \n, \", \\, \101, \x41, \u0041, \U00000041 …
 * ```
 *
 * If there are several filters, one of them has to match. Fields are `kind`, `name`, `parent` and
 * `labels.KEY`. The parts of a key are joined by dots: `labels."a.b"` and `labels.a.b` are the
 * same. Any other field is absent. `==` does not match an absent field; `!=` and `~=` treat it as
 * empty.
 *
 * Regular expressions may also be quoted by two `/` or two `|`, so that a comma does not end them.
 * All quotes have the same escapes, so a backslash of the expression itself is written twice.
 *
 * White space is allowed only before a field, an operator or a value. An unquoted value does not
 * begin with a quote (`"`, `/`, `|`) or with one of `,`, `.`, `=`, `!`, `~`.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { VeneerError } from "../base/errors.ts";
import { suggestion } from "../base/options.ts";
import type { SnapshotInfo } from "./snapshotter.ts";
import { compilePattern } from "./pattern.ts";

/** Whether a snapshot matches. */
export type Filter = (info: SnapshotInfo) => boolean;

/**
 * A test for snapshots that match at least one of the filters. If there are no filters, all
 * snapshots match.
 *
 * @throws {VeneerError} `invalid argument` with the position and the expected text
 */
export function compile(filters: readonly string[]): Filter {
  const compiled = filters.map((text) => new Parser(text).filter());
  return (info) => compiled.length === 0 || compiled.some((fits) => fits(info));
}

/** The fields of snapshots, and their kinds. */
const FIELDS = ["kind", "name", "parent", "labels"];
const KINDS = ["active", "view", "committed"];

/**
 * Refuses filters with a field or a kind that does not exist. From containerd's clients they are
 * allowed, and such fields are absent. From a person they are a typing error: `kindd!=active` would
 * list all snapshots.
 *
 * @throws {VeneerError} `invalid argument` with the nearest name; also as {@linkcode compile}
 */
export function checkNames(filters: readonly string[]): void {
  for (const text of filters) {
    const check = (field: string, operator?: string, value?: string) => {
      const whose = `filter ${JSON.stringify(text)}`;
      if (!FIELDS.includes(field)) {
        const hint = suggestion(field, FIELDS);
        throw new VeneerError("invalid argument", `${whose}: no field is named ${field}; ${hint}`);
      }
      if (field === "kind" && operator !== "~=" && value !== undefined && !KINDS.includes(value)) {
        const hint = suggestion(value, KINDS);
        throw new VeneerError("invalid argument", `${whose}: no kind is ${value}; ${hint}`);
      }
    };
    new Parser(text, check).filter();
  }
}

/** A field's value; `undefined` if it is absent. */
function fieldOf(info: SnapshotInfo, [field, ...rest]: readonly string[]): string | undefined {
  switch (field) {
    case "kind":
    case "name":
    case "parent":
      return info[field];
    case "labels":
      return info.labels.get(rest.join("."));
    default:
      return undefined;
  }
}

/** White space, by Unicode's definition. */
const SPACE = /\p{White_Space}/u;
const FIELD = /[A-Za-z0-9_]/;
const OPERATOR = /[=!~]/;
const QUOTE = /["/|]/;
/** The characters of an unquoted value: all visible ones except the comma. */
const VALUE = /(?!,)[\p{L}\p{M}\p{N}\p{P}\p{S}]/u;

/** The meaning of each escape of one character. */
const ESCAPES: ReadonlyMap<string, number> = new Map([
  ["a", 0x07],
  ["b", 0x08],
  ["t", 0x09],
  ["n", 0x0a],
  ["v", 0x0b],
  ["f", 0x0c],
  ["r", 0x0d],
  ["\\", 0x5c],
]);

/** The escapes with a number: its base and its count of digits. */
const NUMERIC: ReadonlyMap<string, readonly [base: number, digits: number]> = new Map([
  ["x", [16, 2]],
  ["u", [16, 4]],
  ["U", [16, 8]],
]);

/** Reads one filter from its beginning to its end. */
class Parser {
  readonly #text: string;
  /** The code points, so that messages can count characters. */
  readonly #characters: readonly string[];
  #at = 0;

  /** @param seen gets the first field, the operator and the value of each selector */
  constructor(
    text: string,
    private readonly seen: (field: string, operator?: string, value?: string) => void = () => {},
  ) {
    this.#text = text;
    this.#characters = Array.from(text);
  }

  filter(): Filter {
    if (this.#text === "") return () => true;
    const bad = this.#characters.findIndex((c) =>
      c === "\0" || c === "\ufffd" || !c.isWellFormed()
    );
    if (bad >= 0) throw this.#error("this character is not allowed in a filter", bad);
    const selectors = [this.#selector()];
    while (this.#next === ",") {
      this.#at++;
      selectors.push(this.#selector());
    }
    if (this.#next !== undefined) throw this.#error('"," or the end is expected');
    return (info) => selectors.every((fits) => fits(info));
  }

  get #next(): string | undefined {
    return this.#characters[this.#at];
  }

  #selector(): Filter {
    const path = [this.#field()];
    while (this.#next === ".") {
      this.#at++;
      path.push(this.#field());
    }
    if (this.#next === undefined || this.#next === ",") {
      this.seen(path[0]);
      return (info) => fieldOf(info, path) !== undefined;
    }
    const operator = this.#operator();
    this.#skipSpace();
    const start = this.#at;
    const value = this.#value(operator === "~=");
    this.seen(path[0], operator, value);
    switch (operator) {
      case "==":
        return (info) => fieldOf(info, path) === value;
      case "!=":
        return (info) => (fieldOf(info, path) ?? "") !== value;
      case "~=": {
        const matches = this.#pattern(value, start);
        return (info) => matches(fieldOf(info, path) ?? "");
      }
    }
  }

  #field(): string {
    this.#skipSpace();
    if (this.#next !== undefined && QUOTE.test(this.#next)) return this.#quoted(false);
    const field = this.#run(FIELD);
    if (field === "") throw this.#error("a field is expected");
    return field;
  }

  #operator(): "==" | "!=" | "~=" {
    this.#skipSpace();
    const start = this.#at;
    const operator = this.#run(OPERATOR);
    if (operator === "==" || operator === "!=" || operator === "~=") return operator;
    const hint = operator === "" ? "; a field with other marks than _ needs quotes" : "";
    throw this.#error(`"==", "!=" or "~=" is expected${hint}`, start);
  }

  #value(isPattern: boolean): string {
    const first = this.#next;
    if (first === undefined || /[,.=!~]/.test(first)) throw this.#error("a value is expected");
    if (QUOTE.test(first)) return this.#quoted(isPattern);
    this.#at++;
    return first + this.#run(VALUE);
  }

  #pattern(value: string, start: number): (text: string) => boolean {
    try {
      return compilePattern(value);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw this.#error(`the regular expression: ${error.message}`, start);
    }
  }

  /** The text between two quotes. */
  #quoted(isPattern: boolean): string {
    const start = this.#at;
    const quote = this.#characters[this.#at++];
    if (quote !== '"' && !isPattern) {
      throw this.#error(`${quote} quotes a regular expression, after "~="; use " here`, start);
    }
    const bytes: number[] = [];
    for (let character = this.#next; character !== quote; character = this.#next) {
      if (character === undefined || character === "\n") {
        throw this.#error(`the ${quote} that closes this value is missing`, start);
      }
      this.#at++;
      if (character === "\\") this.#escape(quote, bytes);
      else bytes.push(...encode(character));
    }
    this.#at++;
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
        Uint8Array.from(bytes),
      );
    } catch {
      throw this.#error("the escapes in the quotes that begin here are not valid UTF-8", start);
    }
  }

  /** Adds the bytes of an escape, whose backslash was read. */
  #escape(quote: string, bytes: number[]): void {
    const start = this.#at - 1;
    const letter = this.#next ?? "";
    const plain = letter === quote ? letter.codePointAt(0) : ESCAPES.get(letter);
    if (plain !== undefined) {
      this.#at++;
      bytes.push(plain);
    } else if (/[0-7]/.test(letter)) {
      bytes.push(this.#number(8, 3, 0xff, start));
    } else if (NUMERIC.has(letter)) {
      this.#at++;
      const [base, digits] = NUMERIC.get(letter)!;
      const value = this.#number(base, digits, 0x10ffff, start);
      if (letter === "x") bytes.push(value);
      else bytes.push(...encode(String.fromCodePoint(value)));
    } else {
      throw this.#error(`there is no escape \\${letter} in quotes`, start);
    }
  }

  #number(base: number, digits: number, max: number, start: number): number {
    const text = this.#characters.slice(this.#at, this.#at + digits).join("");
    const value =
      (base === 8 ? /^[0-7]{3}$/ : /^[0-9A-Fa-f]+$/).test(text) && text.length === digits
        ? Number.parseInt(text, base)
        : NaN;
    if (!(value <= max)) throw this.#error("a number is wrong in this escape", start);
    this.#at += digits;
    return value;
  }

  #skipSpace(): void {
    this.#run(SPACE);
  }

  /** Reads the longest run of one class of characters. */
  #run(kind: RegExp): string {
    const start = this.#at;
    while (this.#next !== undefined && kind.test(this.#next)) this.#at++;
    return this.#characters.slice(start, this.#at).join("");
  }

  #error(problem: string, at = this.#at): VeneerError {
    const place = at < this.#characters.length ? `character ${at + 1}` : "its end";
    return new VeneerError(
      "invalid argument",
      `filter ${JSON.stringify(this.#text)}, at ${place}: ${problem}`,
    );
  }
}
