/**
 * Help, made from the table of commands.
 *
 * @module
 */
import { DRIVERS } from "../../drivers/names.ts";
import type { CommandSpec, GroupSpec, OperandSpec, OptionSpec, Subject } from "./spec.ts";
import { WIDTH_OF_TEXT, wrapText, wrapWords } from "./wrap.ts";
import { FIRST_WORDS, GLOBAL_OPTIONS, GROUPS, isGroup, ownWord } from "./table.ts";

/** Help of the program, of a group of commands, or of one command, in lines of at most `width`. */
export function helpText(subject: Subject | undefined, width = WIDTH_OF_TEXT): string {
  if (!subject) return programHelp(width);
  return isGroup(subject) ? groupHelp(subject, width) : commandHelp(subject, width);
}

function programHelp(width: number): string {
  return [
    ...wrapText(
      "Veneer keeps layers of file systems, mounts them, and turns them into tars and back.",
      width,
    ),
    "",
    ...wrapText("Usage: veneer [OPTION]… COMMAND [ARGUMENT]…", width),
    "",
    "Commands:",
    ...columns(
      FIRST_WORDS.map((subject) => [
        isGroup(subject) ? `${subject.name} …` : subject.name,
        subject.summary,
      ]),
      width,
    ),
    "",
    "Options, before or after the command:",
    ...optionLines(GLOBAL_OPTIONS, width),
    "",
    "Drivers:",
    ...columns(DRIVERS.map(({ name, summary }) => [name, summary]), width),
    "",
    ...wrapText(
      "`veneer COMMAND --help` shows a command's own options and an example, and\n" +
        `${
          GROUPS.map(({ name }) => `\`veneer ${name} --help\``).join(", ")
        } the commands behind that word.`,
      width,
    ),
  ].join("\n");
}

function groupHelp({ name, summary, details, commands }: GroupSpec, width: number): string {
  return [
    ...wrapText(`Usage: veneer ${name} COMMAND [ARGUMENT]…`, width),
    "",
    ...wrapText(sentence(summary), width),
    "",
    ...wrapText(details, width),
    "",
    "Commands:",
    ...columns(commands.map((command) => [ownWord(command), command.summary]), width),
    "",
    ...wrapText(
      `\`veneer ${name} COMMAND --help\` shows a command's own options and an example.`,
      width,
    ),
    "",
    ...wrapText(GLOBALS, width),
  ].join("\n");
}

function commandHelp(command: CommandSpec, width: number): string {
  const own = optionLines(command.options, width);
  return [
    ...wrapText(`Usage: ${usageLine(command)}`, width),
    "",
    ...wrapText(sentence(command.summary), width),
    ...command.details ? ["", ...wrapText(command.details, width)] : [],
    ...own.length > 0 ? ["", "Options:", ...own] : [],
    "",
    command.examples.length > 1 ? "Examples:" : "Example:",
    ...columns(command.examples, width),
    "",
    ...wrapText(GLOBALS, width),
  ].join("\n");
}

/** The line that stands for the options of every command. */
const GLOBALS = `Options of every command: ${
  GLOBAL_OPTIONS.map(({ name }) => `--${name}`).join(", ")
}; \`veneer --help\` explains them.`;

/** `veneer create [OPTION]… ID`. */
export function usageLine({ name, options, operands }: CommandSpec): string {
  const words = ["veneer", name, ...options.length > 0 ? ["[OPTION]…"] : []];
  return [...words, ...operands.map(operandText)].join(" ");
}

function operandText({ name, optional, repeatable, choices }: OperandSpec): string {
  const text = (choices?.join("|") ?? name) + (repeatable ? "…" : "");
  return optional ? `[${text}]` : text;
}

function optionLines(options: readonly OptionSpec[], width: number): string[] {
  return columns(
    options.map(({ name, short, value, repeatable, summary }) => [
      `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}${
        repeatable ? "…" : ""
      }`,
      summary,
    ]),
    width,
  );
}

/**
 * Two columns, indented. If a first cell is too wide for its column, it has its own line. On a
 * narrow terminal all first cells do, with the second cell below.
 */
export function columns(rows: readonly (readonly [string, string])[], width: number): string[] {
  const WIDEST = 34, LEAST = 30;
  const fitting = rows.map(([left]) => left.length).filter((length) => length <= WIDEST);
  const first = Math.max(0, ...fitting);
  const room = width - first - 4;
  if (room < LEAST) {
    return rows.flatMap(([left, right]) => [
      `  ${left}`,
      ...right === "" ? [] : wrapWords(right, width - 6).map((line) => `      ${line}`),
    ]);
  }
  return rows.flatMap(([left, right]) => {
    const [head, ...rest] = wrapWords(right, room);
    const more = rest.map((line) => `  ${"".padEnd(first)}  ${line}`);
    return left.length <= first || right === ""
      ? [`  ${left.padEnd(first)}  ${head}`.trimEnd(), ...more]
      : [`  ${left}`, `  ${"".padEnd(first)}  ${head}`, ...more];
  });
}

function sentence(text: string): string {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
