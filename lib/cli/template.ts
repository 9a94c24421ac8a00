/**
 * Formats the lines of lists by a template, such as `{id}\t{state}`.
 *
 * A field is in braces; `\t`, `\n`, `\0` and `\\` are a tab, a newline, a NUL and a backslash. All
 * other text is printed unchanged.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { suggestion } from "../base/options.ts";

/**
 * Functions that return the fields of one line. They are called only for fields of the template.
 */
export type Fields = Readonly<Record<string, () => string>>;

/** Writes a line; `label` returns a label by its key. */
export type Template = (fields: Fields, label?: (key: string) => string) => string;

/** The prefix of the fields for labels. */
const LABEL = "labels.";

const ESCAPES: Readonly<Record<string, string>> = { t: "\t", n: "\n", 0: "\0", "\\": "\\" };

/**
 * Parses a template.
 *
 * @param known the names of fields; with `labels`, `labels.KEY` is valid as well
 * @throws {VeneerError} `usage` for an unknown field or escape
 */
export function parseTemplate(template: string, known: readonly string[]): Template {
  const hasLabels = known.includes("labels");
  const parts = template.split(/(\{+[^{}]*\}+|\\.?)/s).map((part) => {
    if (part.startsWith("\\")) return literal(escaped(part, template));
    const [, field] = /^\{+\.?([^{}]*)\}+$/.exec(part) ?? [];
    if (field === undefined) return literal(part);
    if (part !== `{${field}}`) {
      throw invalid(template, `a field is written {${field.toLowerCase()}}`);
    }
    if (known.includes(field)) return (fields: Fields) => fields[field]();
    if (!hasLabels || !field.startsWith(LABEL)) {
      throw invalid(template, `there is no field {${field}}; ${suggestion(field, known)}`);
    }
    const key = field.slice(LABEL.length);
    return (_: Fields, label?: (key: string) => string) => label?.(key) ?? "";
  });
  return (fields, label) => parts.map((part) => part(fields, label)).join("");
}

const literal = (text: string) => () => text;

function escaped(text: string, template: string): string {
  const character = ESCAPES[text.slice(1)];
  if (character !== undefined) return character;
  throw invalid(template, `there is no escape ${text}; there are \\t, \\n, \\0 and \\\\`);
}

function invalid(template: string, rule: string): VeneerError {
  return new VeneerError("usage", `option --format ${JSON.stringify(template)}: ${rule}`);
}
