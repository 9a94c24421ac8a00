/**
 * Completion for zsh, made from the table of commands.
 *
 * @module
 */
import type { CommandSpec, OperandSpec, OptionSpec, ValueKind } from "./spec.ts";
import { COMMANDS, GLOBAL_OPTIONS } from "./table.ts";

/** The script: a file named `_veneer` in a directory of `$fpath`. */
export function zshCompletions(): string {
  return `#compdef veneer
# zsh completion for veneer

_veneer_layers() {
  local -a layers
  layers=(\${(f)"$(veneer $store ls --quiet 2>/dev/null)"})
  compadd -a layers
}

_veneer_commands() {
  local -a commands=(
${COMMANDS.map(({ name, summary }) => `    ${quote(`${name}:${summary}`)}`).join("\n")}
  )
  _describe command commands
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
  _arguments -C -s -A '-*' $global '1:command:_veneer_commands' '*::argument:->command'
  [[ $state == command ]] || return
  case $line[1] in
${COMMANDS.map(commandCase).join("\n")}
  esac
}

_veneer "$@"`;
}

function commandCase({ name, options, operands }: CommandSpec): string {
  const letters = options.map(({ short }) => short);
  const globals = GLOBAL_OPTIONS.map((option) =>
    letters.includes(option.short) ? { ...option, short: undefined } : option
  );
  const words = [...globals.map(argument), ...options.map(argument), ...operands.map(operand)];
  return `    ${name})\n      _arguments -s \\\n        ${words.join(" \\\n        ")} ;;`;
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
  return quote(`${place}:${optional ? ":" : ""}${escape(name)}:${action(spec)}`);
}

function action({ choices, kind }: { choices?: readonly string[]; kind?: ValueKind }): string {
  if (choices) return `(${choices.join(" ")})`;
  switch (kind) {
    case "layer":
      return "_veneer_layers";
    case "file":
      return "_files";
    case "directory":
      return "_files -/";
    case "command":
      return "_veneer_commands";
    default:
      return " ";
  }
}

/** Characters that `_arguments` reads as its own. */
const escape = (text: string) => text.replaceAll(/[\\:[\]]/g, "\\$&");

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
