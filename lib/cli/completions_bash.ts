/**
 * Completion for bash, made from the table of commands. It needs nothing but bash itself.
 *
 * @module
 */
import { type CompletionWords, functionName, LISTED_KINDS } from "./completion_words.ts";
import type { OperandSpec, OptionSpec, ValueKind } from "./spec.ts";
import { OPTIONS_TOPIC } from "./options_topic.ts";
import { COMMANDS, FIRST_WORDS, GLOBAL_OPTIONS, GROUPS, ownWord } from "./table.ts";

/** Returns the script, for `source` or for a directory of bash-completion. */
export function bashCompletions(known: CompletionWords): string {
  const everyOption = [...GLOBAL_OPTIONS, ...COMMANDS.flatMap(({ options }) => options)];
  const withValue = everyOption.filter(({ value }) => value !== undefined);
  const groups = GROUPS.map(({ name }) => name).join(" | ");
  return `# bash completion for veneer
_veneer_layers() {
  veneer "\${_veneer_store[@]}" ls --quiet 2>/dev/null
}

_veneer_images() {
  veneer "\${_veneer_store[@]}" image ls --quiet 2>/dev/null
}

# Keys may hold anything, so they are compared and quoted here, and never expanded.
_veneer_snapshots() {
  local key quoted
  while IFS= read -r -d '' key; do
    printf -v quoted %q "$key"
    if [[ $_veneer_word == [\\'\\"]* ]]; then
      [[ $key == "\${_veneer_word:1}"* ]] && COMPREPLY+=("$key")
    elif [[ $quoted == "$_veneer_word"* || ($key == "$_veneer_word"* && $_veneer_word != *[=:]*) ]]; then
      COMPREPLY+=("$quoted")
    fi
  done < <(veneer "\${_veneer_store[@]}" snapshot ls --null 2>/dev/null)
}

_veneer_reply() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen "$@" -- "$_veneer_word"))
}

_veneer_files() {
  compopt -o filenames 2>/dev/null
  _veneer_reply "$@"
}

# Words that go on if they end in "=" or ".".
_veneer_open_reply() {
  _veneer_reply -W "$1"
  [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
}
${
    LISTED_KINDS.map((kind) =>
      `_veneer_${functionName(kind)}() {
  _veneer_open_reply ${quote(known[kind].map(({ word }) => word))}
}`
    ).join("\n")
  }

# Leaves out what the line has already.
_veneer_others() {
  local found=("\${COMPREPLY[@]}") candidate given
  COMPREPLY=()
  for candidate in "\${found[@]}"; do
    for given in "\${_veneer_given[@]}"; do
      [[ $candidate == "$given" ]] && continue 2
    done
    COMPREPLY+=("$candidate")
  done
}

# The commands of a group, or what a first word may be.
_veneer_commands() {
  case $1 in
${
    GROUPS.map(({ name, commands }) =>
      `    ${name}) _veneer_reply -W ${quote(commands.map(ownWord))} ;;`
    ).join("\n")
  }
    help) _veneer_reply -W ${quote([...FIRST_WORDS.map(ownWord), OPTIONS_TOPIC])} ;;
    *) _veneer_reply -W ${quote(FIRST_WORDS.map(ownWord))} ;;
  esac
}

# Bash splits at "=" and ":", which options and keys have inside: "--root=/x" comes as three words.
_veneer_words() {
  local i word glue=
  words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i > 0)) && [[ $word =~ ^[=:]+$ ]]; then
      words[-1]+=$word glue=1
    elif [[ $glue && $word ]]; then
      words[-1]+=$word glue=
    else
      words+=("$word") glue=
    fi
  done
}

_veneer() {
  local words _veneer_word _veneer_store=() _veneer_given=() command= option= operands=0 i word
  COMPREPLY=()
  _veneer_words
  _veneer_word=\${words[-1]}
  for ((i = 1; i < \${#words[@]} - 1; i++)); do
    word=\${words[i]}
    case $word in
      ${words(withValue)})
        if ((++i == \${#words[@]} - 1)); then
          option=$word
        else
          case $word in --root | --driver) _veneer_store+=("$word" "\${words[i]}") ;; esac
        fi
        ;;
      --root=* | --driver=*) _veneer_store+=("$word") ;;
      -*) ;;
      *)
        case $command in
          "") command=$word ;;
          ${groups}) command+=" $word" ;;
          *) ((operands++)); _veneer_given+=("$word") ;;
        esac
        ;;
    esac
  done
  if [[ ! $option && $_veneer_word == --*=* ]]; then
    option=\${_veneer_word%%=*} _veneer_word=\${_veneer_word#*=}
  fi
  _veneer_complete
  # Readline has kept what stands before the last "=" or ":".
  local last=\${COMP_WORDS[COMP_CWORD]}
  [[ $last =~ ^[=:]+$ ]] && last=
  local kept=$((\${#_veneer_word} - \${#last}))
  COMPREPLY=("\${COMPREPLY[@]#"\${_veneer_word:0:kept}"}")
  return 0
}

_veneer_complete() {
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
      `      ${pattern(name)}) _veneer_reply -W ${quote(names([...options, ...GLOBAL_OPTIONS]))} ;;`
    ).join("\n")
  }
      *) _veneer_reply -W ${quote(names(GLOBAL_OPTIONS))} ;;
    esac
    return
  fi
  case $command in
    "" | ${groups}) _veneer_commands "$command" ;;
${
    COMMANDS.filter(({ operands }) => operands.length > 0)
      .map(({ name, operands }) => `    ${pattern(name)}) ${operandsReply(operands)} ;;`)
      .join("\n")
  }
  esac
}

complete -o bashdefault -F _veneer veneer`;
}

/**
 * A case pattern of the words of options, each with the command's name before it if one is given.
 */
function words(options: readonly OptionSpec[], command = ""): string {
  return options.flatMap(({ name, short }) => [`--${name}`, ...short ? [`-${short}`] : []])
    .map((word) => pattern(command) + word)
    .filter((word, i, all) => all.indexOf(word) === i)
    .join(" | ");
}

/** A command's name in a case pattern. */
const pattern = (command: string) => command.replace(" ", "\\ ");

const names = (options: readonly OptionSpec[]) => options.map(({ name }) => `--${name}`);

const quote = (list: readonly string[]) => `$'${list.join("\\n")}'`;

function valueReply({ choices, kind = "other" }: OptionSpec): string {
  return choices ? `_veneer_reply -W ${quote(choices)}` : reply(kind);
}

/** The reply for each operand, by position. */
function operandsReply(operands: readonly OperandSpec[]): string {
  const cases = operands.map(({ choices, kind, repeatable }, i) => {
    const all = choices ? `_veneer_reply -W ${quote(choices)}` : reply(kind);
    const action = repeatable && (kind === "layer" || kind === "snapshot")
      ? `${all}; _veneer_others`
      : all;
    return `${repeatable ? "*" : i}) ${action} ;;`;
  });
  return `case $operands in ${cases.join(" ")} esac`;
}

function reply(kind: ValueKind): string {
  switch (kind) {
    case "layer":
      return '_veneer_reply -W "$(_veneer_layers)"';
    case "snapshot":
      return "_veneer_snapshots";
    case "image":
      return '_veneer_reply -W "$(_veneer_images)"';
    case "file":
      return "_veneer_files -f";
    case "directory":
      return "_veneer_files -d";
    case "command":
      return '_veneer_commands "${words[-2]}"';
    case "driver option":
    case "storage option":
    case "filter":
      return `_veneer_${functionName(kind)}`;
    case "other":
      return ":";
  }
}
