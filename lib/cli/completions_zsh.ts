/**
 * Completion for zsh, made from the table of commands.
 *
 * @module
 */
import { type CompletionWords, functionName, isListed, LISTED_KINDS } from "./completion_words.ts";
import { OPTIONS_TOPIC } from "./options_topic.ts";
import type { OperandSpec, OptionSpec, Subject, ValueKind } from "./spec.ts";
import { FIRST_WORDS, GLOBAL_OPTIONS, GROUPS, isGroup, ownWord } from "./table.ts";

/** Returns the script, for a file named `_veneer` in a directory of `$fpath`. */
export function zshCompletions(known: CompletionWords): string {
  return `#compdef veneer
# zsh completion for veneer

_veneer_layers() {
  local -a layers
  layers=(\${(f)"$(veneer $store ls --quiet 2>/dev/null)"})
  compadd "$@" -a layers
}

# Leaves out what the line has already.
_veneer_other_layers() {
  local -a given=(\${(b)\${(Q)words[2,CURRENT-1]}})
  _veneer_layers -F given
}

_veneer_snapshots() {
  local -a keys
  keys=(\${(0)"$(veneer $store snapshot ls --null 2>/dev/null)"})
  compadd "$@" -a keys
}

_veneer_images() {
  local -a images
  images=(\${(f)"$(veneer $store image ls --quiet 2>/dev/null)"})
  compadd "$@" -a images
}

_veneer_other_snapshots() {
  local -a given=(\${(b)\${(Q)words[2,CURRENT-1]}})
  _veneer_snapshots -F given
}

# Words that go on if they end in "=" or ".".
_veneer_open() {
  local -a open=(\${(M)@:#*[=.]}) whole=(\${@:#*[=.]})
  compadd -S '' -a open
  compadd -a whole
}
${
    LISTED_KINDS.map((kind) =>
      `_veneer_${functionName(kind)}() {
  _veneer_open \\
${known[kind].map(({ word }) => `    ${quote(word)}`).join(" \\\n")}
}`
    ).join("\n\n")
  }

${commandList("_veneer_commands", FIRST_WORDS)}

_veneer_topics() {
  _veneer_commands
  compadd ${OPTIONS_TOPIC}
}

${
    GROUPS.map(({ name, commands }) => commandList(`_veneer_${name}_commands`, commands)).join(
      "\n\n",
    )
  }

_veneer() {
  local curcontext=$curcontext state line i
  typeset -A opt_args
  # The store that the line names: _arguments forgets it behind the command.
  local -a store
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
      --root | --driver) store+=($words[i] \${(Q)words[i+1]}) ;;
      --root=* | --driver=*) store+=(\${(Q)words[i]}) ;;
    esac
  done
  local -a global=(
${GLOBAL_OPTIONS.map((option) => `    ${argument(option)}`).join("\n")}
  )
${commandCases("_veneer_commands", FIRST_WORDS)}
}

${
    GROUPS.map(({ name, commands }) =>
      `_veneer_${name}() {
  local curcontext=$curcontext state line
${commandCases(`_veneer_${name}_commands`, commands)}
}`
    ).join("\n\n")
  }

_veneer "$@"`;
}

function commandList(name: string, subjects: readonly Subject[]): string {
  const lines = subjects.map((subject) => `    ${quote(`${ownWord(subject)}:${subject.summary}`)}`);
  return `${name}() {\n  local -a commands=(\n${
    lines.join("\n")
  }\n  )\n  _describe command commands\n}`;
}

/** Completes a command's word, and the words after it. */
function commandCases(list: string, subjects: readonly Subject[]): string {
  return `  _arguments -C -s -A '-*' $global '1:command:${list}' '*::argument:->command'
  [[ $state == command ]] || return
  case $line[1] in
${subjects.map(commandCase).join("\n")}
  esac`;
}

function commandCase(subject: Subject): string {
  if (isGroup(subject)) return `    ${subject.name}) _veneer_${subject.name} ;;`;
  const { options, operands } = subject;
  const letters = options.map(({ short }) => short);
  const globals = GLOBAL_OPTIONS.map((option) =>
    letters.includes(option.short) ? { ...option, short: undefined } : option
  );
  const words = [...globals.map(argument), ...options.map(argument), ...operands.map(operand)];
  return `    ${ownWord(subject)})\n      _arguments -s \\\n        ${
    words.join(" \\\n        ")
  } ;;`;
}

/** `'(-o --output)'{-o,--output=}'[summary]:FILE:_files'` */
function argument(option: OptionSpec): string {
  const { name, short, value, repeatable, summary } = option;
  const text = `[${escape(summary)}]${
    value === undefined ? "" : `:${escape(value)}:${action(option)}`
  }`;
  const long = value === undefined ? `--${name}` : `--${name}=`;
  if (!short) return quote(`${repeatable ? "*" : ""}${long}${text}`);
  const letter = value === undefined ? `-${short}` : `-${short}+`;
  const exclusion = repeatable ? "'*'" : quote(`(-${short} --${name})`);
  return `${exclusion}{${letter},${long}}${quote(text)}`;
}

function operand(spec: OperandSpec, index: number): string {
  const { name, optional, repeatable } = spec;
  const place = repeatable ? "*" : String(index + 1);
  const isOneOfMany = repeatable && (spec.kind === "layer" || spec.kind === "snapshot");
  const words = isOneOfMany ? `_veneer_other_${spec.kind}s` : action(spec);
  return quote(`${place}:${optional && !repeatable ? ":" : ""}${escape(name)}:${words}`);
}

function action({ choices, kind }: { choices?: readonly string[]; kind?: ValueKind }): string {
  if (choices) return `(${choices.join(" ")})`;
  if (isListed(kind)) return `_veneer_${functionName(kind)}`;
  switch (kind) {
    case "layer":
      return "_veneer_layers";
    case "snapshot":
      return "_veneer_snapshots";
    case "image":
      return "_veneer_images";
    case "file":
      return "_files";
    case "directory":
      return "_files -/";
    case "command":
      return "_veneer_topics";
    default:
      return " ";
  }
}

/** Escapes the characters that have a meaning for `_arguments`. */
const escape = (text: string) => text.replaceAll(/[\\:[\]]/g, "\\$&");

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
