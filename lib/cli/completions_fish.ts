/**
 * Completion for fish, made from the table of commands.
 *
 * @module
 */
import {
  choiceSummary,
  type CompletionWords,
  functionName,
  isListed,
  LISTED_KINDS,
} from "./completion_words.ts";
import { OPTIONS_TOPIC } from "./options_topic.ts";
import type { OperandSpec, OptionSpec, Subject, ValueKind } from "./spec.ts";
import { COMMANDS, FIRST_WORDS, GLOBAL_OPTIONS, GROUPS, ownWord } from "./table.ts";

/** Returns the script, for the file `veneer.fish` in a directory of `$fish_complete_path`. */
export function fishCompletions(known: CompletionWords): string {
  return [
    "# fish completion for veneer",
    "function __veneer_store",
    "    set -l words (commandline -opc)",
    "    for i in (seq 2 (count $words))",
    "        switch $words[$i]",
    "            case --root --driver",
    "                printf '%s\\n' $words[$i] $words[(math $i + 1)]",
    "            case '--root=*' '--driver=*'",
    "                echo $words[$i]",
    "        end",
    "    end",
    "end",
    "function __veneer_layers",
    "    veneer (__veneer_store) ls --quiet 2>/dev/null | string replace -r '$' '\\tlayer'",
    "end",
    "function __veneer_snapshots",
    "    veneer (__veneer_store) snapshot ls --null 2>/dev/null | string split0 |" +
    " string replace -r '$' '\\tsnapshot'",
    "end",
    "function __veneer_images",
    "    veneer (__veneer_store) image ls --quiet 2>/dev/null | string replace -r '$' '\\timage'",
    "end",
    "# Leaves out what the line has already.",
    "function __veneer_others",
    "    set -l words (commandline -opc)",
    "    for found in ($argv)",
    "        contains -- (string split -f1 \\t -- $found) $words; or echo $found",
    "    end",
    "end",
    ...LISTED_KINDS.flatMap((kind) => [
      `function __veneer_${functionName(kind)}`,
      ...known[kind].map(({ word, summary }) =>
        `    printf '%s\\t%s\\n' ${quote(word)} ${quote(summary)}`
      ),
      "end",
    ]),
    "# The command's words, as far as they are there.",
    "function __veneer_command",
    "    set -l words (commandline -opc)",
    "    set -l command",
    "    set -l i 2",
    "    while test $i -le (count $words)",
    "        switch $words[$i]",
    `            case ${optionsWithValue().join(" ")}`,
    "                set i (math $i + 1)",
    "            case '-*'",
    "            case '*'",
    "                set -a command $words[$i]",
    `                contains -- "$command" '' ${names(GROUPS)}; or break`,
    "        end",
    "        set i (math $i + 1)",
    "    end",
    '    echo "$command"',
    "end",
    "function __veneer_is",
    '    test (__veneer_command) = "$argv"',
    "end",
    "complete -c veneer -f",
    ...commandLines("", FIRST_WORDS),
    ...GROUPS.flatMap(({ name, commands }) => commandLines(name, commands)),
    ...GLOBAL_OPTIONS.map((option) => `complete -c veneer${optionWords(option)}`),
    ...COMMANDS.flatMap(({ name, options, operands }) => {
      const here = behind(name);
      return [
        ...options.map((option) => here + optionWords(option)),
        ...operands.map((operand) => `${here}${operandWords(operand)}`)
          .filter((line) => line !== here),
      ];
    }),
  ].join("\n");
}

/** A completion that is offered only after a command's words. */
const behind = (words: string) => `complete -c veneer -n ${quote(`__veneer_is ${words}`.trim())}`;

const names = (subjects: readonly Subject[]) => subjects.map(ownWord).join(" ");

/** The completions of the words after a group's word, or of the first word. */
function commandLines(group: string, subjects: readonly Subject[]): string[] {
  return subjects.map((subject) =>
    `${behind(group)} -a ${ownWord(subject)} -d ${quote(subject.summary)}`
  );
}

/** The words of options with a value, which is the next word. */
function optionsWithValue(): string[] {
  const options = [...GLOBAL_OPTIONS, ...COMMANDS.flatMap(({ options }) => options)]
    .filter(({ value }) => value !== undefined);
  return [
    ...new Set(options.flatMap(({ name, short }) => [`--${name}`, ...short ? [`-${short}`] : []])),
  ];
}

function optionWords(option: OptionSpec): string {
  const { name, short, value, summary } = option;
  const words = [` -l ${name}`, ...short ? [` -s ${short}`] : [], ` -d ${quote(summary)}`];
  if (value !== undefined) words.push(" -r", candidates(option));
  return words.join("");
}

function operandWords(operand: OperandSpec): string {
  const { kind, repeatable } = operand;
  if (repeatable && (kind === "layer" || kind === "snapshot")) {
    return ` -f -a '(__veneer_others __veneer_${kind}s)'`;
  }
  return candidates(operand);
}

/** Each candidate has its own text, since fish otherwise repeats the option's text after it. */
function candidates({ choices, kind }: { choices?: readonly string[]; kind?: ValueKind }): string {
  if (choices) {
    const described = choices.map((choice) => `${choice}\\t${quote(choiceSummary(choice))}`);
    return ` -f -a ${quote(described.join(" "))}`;
  }
  if (isListed(kind)) return ` -f -a '(__veneer_${functionName(kind)})'`;
  switch (kind) {
    case "layer":
      return " -f -a '(__veneer_layers)'";
    case "snapshot":
      return " -f -a '(__veneer_snapshots)'";
    case "image":
      return " -f -a '(__veneer_images)'";
    case "file":
      return " -F";
    case "directory":
      return " -f -a '(__fish_complete_directories)'";
    case "command":
      return ` -f -a ${quote(`${names(FIRST_WORDS)} ${OPTIONS_TOPIC}`)}`;
    default:
      return "";
  }
}

const quote = (text: string) => `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
