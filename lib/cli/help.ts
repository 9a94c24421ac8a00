/**
 * Help, made from the table of commands.
 *
 * @module
 */
import { DRIVERS } from "../../drivers/names.ts";
import type { CommandSpec, GroupSpec, OperandSpec, OptionSpec, Subject } from "./spec.ts";
import { FIRST_WORDS, GLOBAL_OPTIONS, GROUPS, isGroup, ownWord } from "./table.ts";

/** Help of the program, of a group of commands, or of one command. */
export function helpText(subject: Subject | undefined): string {
  if (!subject) return programHelp();
  return isGroup(subject) ? groupHelp(subject) : commandHelp(subject);
}

function programHelp(): string {
  return [
    "Veneer keeps layers of file systems, mounts them, and turns them into tars and back.",
    "",
    "Usage: veneer [OPTION]… COMMAND [ARGUMENT]…",
    "",
    "Commands:",
    ...columns(FIRST_WORDS.map((subject) => [
      isGroup(subject) ? `${subject.name} …` : subject.name,
      subject.summary,
    ])),
    "",
    "Options, before or after the command:",
    ...optionLines(GLOBAL_OPTIONS),
    "",
    "Drivers:",
    ...columns(DRIVERS.map(({ name, summary }) => [name, summary])),
    "",
    "`veneer COMMAND --help` shows a command's own options and an example, and",
    `${
      GROUPS.map(({ name }) => `\`veneer ${name} --help\``).join(", ")
    } the commands behind that word.`,
  ].join("\n");
}

function groupHelp({ name, summary, details, commands }: GroupSpec): string {
  return [
    `Usage: veneer ${name} COMMAND [ARGUMENT]…`,
    "",
    sentence(summary),
    "",
    details,
    "",
    "Commands:",
    ...columns(commands.map((command) => [ownWord(command), command.summary])),
    "",
    `\`veneer ${name} COMMAND --help\` shows a command's own options and an example.`,
    "",
    "Options of every command:",
    ...optionLines(GLOBAL_OPTIONS),
  ].join("\n");
}

function commandHelp(command: CommandSpec): string {
  const own = optionLines(command.options);
  const letters = new Set(command.options.map(({ short }) => short));
  const globals = GLOBAL_OPTIONS.map((option) =>
    letters.has(option.short) ? { ...option, short: undefined } : option
  );
  return [
    `Usage: ${usageLine(command)}`,
    "",
    sentence(command.summary),
    ...command.details ? ["", command.details] : [],
    ...own.length > 0 ? ["", "Options:", ...own] : [],
    "",
    command.examples.length > 1 ? "Examples:" : "Example:",
    ...columns(command.examples),
    "",
    "Options of every command:",
    ...optionLines(globals),
  ].join("\n");
}

/** `veneer create [OPTION]… ID`. */
export function usageLine({ name, options, operands }: CommandSpec): string {
  const words = ["veneer", name, ...options.length > 0 ? ["[OPTION]…"] : []];
  return [...words, ...operands.map(operandText)].join(" ");
}

function operandText({ name, optional, repeatable, choices }: OperandSpec): string {
  const text = (choices?.join("|") ?? name) + (repeatable ? "…" : "");
  return optional ? `[${text}]` : text;
}

function optionLines(options: readonly OptionSpec[]): string[] {
  return columns(
    options.map(({ name, short, value, repeatable, summary }) => [
      `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}${
        repeatable ? "…" : ""
      }`,
      summary,
    ]),
  );
}

/** Two columns, indented; a first one that is too wide for its column has a line to itself. */
function columns(rows: readonly (readonly [string, string])[]): string[] {
  const WIDEST = 34;
  const fitting = rows.map(([left]) => left.length).filter((length) => length <= WIDEST);
  const width = Math.max(0, ...fitting);
  return rows.flatMap(([left, right]) =>
    left.length <= width || right === ""
      ? [`  ${left.padEnd(width)}  ${right}`.trimEnd()]
      : [`  ${left}`, `  ${"".padEnd(width)}  ${right}`]
  );
}

function sentence(text: string): string {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
