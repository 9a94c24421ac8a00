/**
 * Completion for fish, made from the table of commands.
 *
 * @module
 */
import type { OperandSpec, OptionSpec, ValueKind } from "./spec.ts";
import { COMMANDS, GLOBAL_OPTIONS } from "./table.ts";

/** The script: `veneer.fish` in a directory of `$fish_complete_path`. */
export function fishCompletions(): string {
  const names = COMMANDS.map(({ name }) => name).join(" ");
  return [
    "# fish completion for veneer",
    "function __veneer_layers",
    "    set -l words (commandline -opc)",
    "    set -l store",
    "    for i in (seq 2 (count $words))",
    "        switch $words[$i]",
    "            case --root --driver",
    "                set -a store $words[$i] $words[(math $i + 1)]",
    "            case '--root=*' '--driver=*'",
    "                set -a store $words[$i]",
    "        end",
    "    end",
    "    veneer $store ls --quiet 2>/dev/null",
    "end",
    "complete -c veneer -f",
    ...COMMANDS.map(({ name, summary }) =>
      `complete -c veneer -n 'not __fish_seen_subcommand_from ${names}' -a ${name} -d ${
        quote(summary)
      }`
    ),
    ...GLOBAL_OPTIONS.map((option) => `complete -c veneer${optionWords(option)}`),
    ...COMMANDS.flatMap(({ name, options, operands }) => {
      const here = `complete -c veneer -n '__fish_seen_subcommand_from ${name}'`;
      return [
        ...options.map((option) => here + optionWords(option)),
        ...operands.map((operand) => `${here}${operandWords(operand)}`)
          .filter((line) => line !== here),
      ];
    }),
  ].join("\n");
}

function optionWords(option: OptionSpec): string {
  const { name, short, value, summary } = option;
  const words = [` -l ${name}`, ...short ? [` -s ${short}`] : [], ` -d ${quote(summary)}`];
  if (value !== undefined) words.push(" -r", candidates(option));
  return words.join("");
}

const operandWords = (operand: OperandSpec) => candidates(operand);

function candidates({ choices, kind }: { choices?: readonly string[]; kind?: ValueKind }): string {
  if (choices) return ` -f -a ${quote(choices.join(" "))}`;
  switch (kind) {
    case "layer":
      return " -f -a '(__veneer_layers)'";
    case "file":
      return " -F";
    case "directory":
      return " -f -a '(__fish_complete_directories)'";
    case "command":
      return ` -f -a ${quote(COMMANDS.map(({ name }) => name).join(" "))}`;
    default:
      return "";
  }
}

const quote = (text: string) => `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
