/**
 * Completion for bash, made from the table of commands. It needs nothing but bash itself.
 *
 * @module
 */
import type { OperandSpec, OptionSpec, ValueKind } from "./spec.ts";
import { COMMANDS, GLOBAL_OPTIONS } from "./table.ts";

/** The script: source it, or put it where bash-completion looks. */
export function bashCompletions(): string {
  const everyOption = [...GLOBAL_OPTIONS, ...COMMANDS.flatMap(({ options }) => options)];
  const withValue = everyOption.filter(({ value }) => value !== undefined);
  return `# bash completion for veneer
_veneer_layers() {
  veneer "\${_veneer_store[@]}" ls --quiet 2>/dev/null
}

_veneer_reply() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen "$@" -- "$_veneer_word"))
}

_veneer() {
  # Bash splits at "=": "--root=/x" comes as three words.
  local _veneer_word=\${COMP_WORDS[COMP_CWORD]} _veneer_store=() command= option= operands=0
  local previous=\${COMP_WORDS[COMP_CWORD - 1]} i word
  COMPREPLY=()
  if [[ $_veneer_word == = ]]; then _veneer_word=; option=$previous
  elif [[ $previous == = ]]; then option=\${COMP_WORDS[COMP_CWORD - 2]}
  elif [[ $previous == -* ]]; then option=$previous
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in
      ${words(withValue)})
        [[ \${COMP_WORDS[i + 1]} == = ]] && ((i++))
        ((i++))
        ((i < COMP_CWORD)) && case $word in
          --root | --driver) _veneer_store+=("$word" "\${COMP_WORDS[i]}") ;;
        esac
        ;;
      -*) ;;
      *) if [[ -z $command ]]; then command=$word; else ((operands++)); fi ;;
    esac
  done
  case $command$option in
${
    COMMANDS.flatMap(({ name, options }) => options.map((option) => ({ name, option })))
      .filter(({ option }) => option.value !== undefined)
      .map(({ name, option }) => `    ${words([option], name)}) ${valueReply(option)}; return ;;`)
      .join("\n")
  }
  esac
  case $option in
${
    GLOBAL_OPTIONS.filter(({ value }) => value !== undefined)
      .map((option) => `    ${words([option])}) ${valueReply(option)}; return ;;`)
      .join("\n")
  }
  esac
  if [[ $_veneer_word == -* ]]; then
    case $command in
${
    COMMANDS.map(({ name, options }) =>
      `      ${name}) _veneer_reply -W ${quote(names([...options, ...GLOBAL_OPTIONS]))} ;;`
    ).join("\n")
  }
      *) _veneer_reply -W ${quote(names(GLOBAL_OPTIONS))} ;;
    esac
    return
  fi
  case $command in
    "") _veneer_reply -W ${quote(COMMANDS.map(({ name }) => name))} ;;
${
    COMMANDS.filter(({ operands }) => operands.length > 0)
      .map(({ name, operands }) => `    ${name}) ${operandsReply(operands)} ;;`)
      .join("\n")
  }
  esac
}

complete -o filenames -o bashdefault -F _veneer veneer`;
}

/** A case pattern of options' words, each behind the command's name where one is given. */
function words(options: readonly OptionSpec[], command = ""): string {
  return options.flatMap(({ name, short }) => [`--${name}`, ...short ? [`-${short}`] : []])
    .map((word) => command + word)
    .filter((word, i, all) => all.indexOf(word) === i)
    .join(" | ");
}

const names = (options: readonly OptionSpec[]) => options.map(({ name }) => `--${name}`);

const quote = (list: readonly string[]) => `$'${list.join("\\n")}'`;

function valueReply({ choices, kind = "other" }: OptionSpec): string {
  return choices ? `_veneer_reply -W ${quote(choices)}` : reply(kind);
}

/** By position: what an operand is. */
function operandsReply(operands: readonly OperandSpec[]): string {
  const cases = operands.map(({ choices, kind, repeatable }, i) => {
    const action = choices ? `_veneer_reply -W ${quote(choices)}` : reply(kind);
    return `${repeatable ? "*" : i}) ${action} ;;`;
  });
  return `case $operands in ${cases.join(" ")} esac`;
}

function reply(kind: ValueKind): string {
  switch (kind) {
    case "layer":
      return '_veneer_reply -W "$(_veneer_layers)"';
    case "file":
      return "_veneer_reply -f";
    case "directory":
      return "_veneer_reply -d";
    case "command":
      return `_veneer_reply -W ${quote(COMMANDS.map(({ name }) => name))}`;
    case "other":
      return ":";
  }
}
