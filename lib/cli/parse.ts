/**
 * Parses arguments into a command, its options and its operands.
 *
 * `parseArgs` cannot distinguish an option's empty value from a missing one, reads `--json true` as
 * one option and `--no-trunc` as the negation of another flag. So the arguments are first converted
 * to an unambiguous form, `--given-name=value … -- operand …`. This pass knows the options in scope
 * and reports errors; `parseArgs` only collects the values.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { VeneerError } from "../base/errors.ts";
import { suggestion } from "../base/options.ts";
import { hintFor } from "./other_words.ts";
import type { CommandSpec, OptionSpec, Subject } from "./spec.ts";
import { FIRST_WORDS, GLOBAL_OPTIONS, isGroup, ownWord } from "./table.ts";

/** A parsed command line. */
export interface Invocation {
  /** It is missing or a group only for requests for help or the version. */
  readonly command: Subject | undefined;
  readonly options: Options;
  readonly operands: readonly string[];
}

/** The given options. Each method takes the name of an option of its kind. */
export class Options {
  constructor(private readonly given: Readonly<Record<string, readonly string[]>>) {}

  /** Whether a flag was given. */
  flag(name: string): boolean {
    return this.given[name]?.at(-1) === "true";
  }

  /** The value of an option, the last one if there are several. `""` is a valid value. */
  value(name: string): string | undefined {
    return this.given[name]?.at(-1);
  }

  /** Returns these options with some of them replaced. */
  with(others: Readonly<Record<string, readonly string[]>>): Options {
    return new Options({ ...this.given, ...others });
  }

  /** All values of a repeatable option. */
  values(name: string): readonly string[] {
    return this.given[name] ?? [];
  }
}

/**
 * Parses a command line.
 *
 * @param args the arguments without the program's name
 * @throws {VeneerError} `usage`
 */
export function parseCommandLine(args: readonly string[]): Invocation {
  const { command, canonical } = normalize(args);
  const known = scopeOf(command).map(({ name }) => GIVEN + name);
  const { _, "--": operands = [], ...given } = parseArgs(canonical, {
    string: known,
    collect: known,
    "--": true,
  });
  const values = Object.entries(given as Record<string, string[]>);
  const options = new Options(
    Object.fromEntries(values.map(([name, value]) => [name.slice(GIVEN.length), value])),
  );
  const isHelp = options.flag("help") || options.flag("version");
  if (!isHelp) {
    if (!command) {
      throw usage("usage: veneer [OPTION]… COMMAND [ARGUMENT]…; `veneer --help` lists commands");
    }
    if (isGroup(command)) {
      const { name } = command;
      throw usage(`\`veneer ${name}\` needs a command; \`veneer ${name} --help\` lists them`);
    }
    checkOperands(command, operands);
  }
  return { command, options, operands };
}

/** The prefix of options' names in the unambiguous form, so that no name begins with `no-`. */
const GIVEN = "given-";

/** An option on the command line, by its long name. */
type Given = readonly [name: string, value: string];

/** Converts arguments to the unambiguous form, and finds the command. */
function normalize(args: readonly string[]): {
  command: Subject | undefined;
  canonical: string[];
} {
  let command: Subject | undefined;
  const given: Given[] = [], operands: string[] = [];
  const rest = [...args];
  const positional = (argument: string) => {
    if (command && !isGroup(command)) operands.push(argument);
    else command = subjectNamed(argument, command);
  };
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === "--") {
      rest.forEach(positional);
      break;
    }
    if (argument.startsWith("--")) given.push(readLong(argument, rest, command));
    else if (argument.startsWith("-") && argument !== "-") {
      given.push(...readShort(argument, rest, command));
    } else positional(argument);
  }
  const options = given.map(([name, value]) => `--${GIVEN}${name}=${value}`);
  return { command, canonical: [...options, "--", ...operands] };
}

/**
 * The command or group that a word names, as the first word or after a group's word.
 *
 * @throws {VeneerError} `usage`; the message names the nearest word
 */
export function subjectNamed(word: string, before?: Subject): Subject {
  if (before !== undefined && !isGroup(before)) {
    const { name } = before;
    throw usage(`\`veneer ${name}\` has no commands below it; see \`veneer ${name} --help\``);
  }
  const subjects: readonly Subject[] = before === undefined ? FIRST_WORDS : before.commands;
  const found = subjects.find((subject) => ownWord(subject) === word);
  if (found) return found;
  const name = JSON.stringify(before ? `${before.name} ${word}` : word);
  const known = subjects.map(ownWord);
  const hint = hintFor(word, known, before === undefined) ?? suggestion(word, known);
  throw usage(`there is no command ${name}; ${hint}`);
}

/** The options of a command. Its own options come first, so that their letters have precedence. */
function scopeOf(command: Subject | undefined): readonly OptionSpec[] {
  return command && !isGroup(command) ? [...command.options, ...GLOBAL_OPTIONS] : GLOBAL_OPTIONS;
}

/** `--name`, `--name=value`, or `--name` and the next argument. */
function readLong(
  argument: string,
  rest: string[],
  command: Subject | undefined,
): Given {
  const [, name, attached] = /^--([^=]*)(?:=(.*))?$/s.exec(argument)!;
  const option = scopeOf(command).find((known) => known.name === name);
  if (!option) throw unknownOption(`--${name}`, command);
  if (option.value === undefined) {
    if (attached !== undefined) throw usage(`option --${name} takes no value`);
    return [name, "true"];
  }
  return checked(option, attached ?? nextValue(`--${name}`, rest));
}

/** `-a`, `-ab` for flags, `-o value`, `-ovalue` and `-o=value`. */
function readShort(
  argument: string,
  rest: string[],
  command: Subject | undefined,
): Given[] {
  const result: Given[] = [];
  for (let at = 1; at < argument.length; at++) {
    const letter = argument[at];
    const option = scopeOf(command).find((known) => known.short === letter);
    if (!option) throw unknownOption(at === 1 ? argument : `-${letter}`, command);
    if (option.value === undefined) {
      result.push([option.name, "true"]);
      continue;
    }
    const attached = argument.slice(at + 1);
    const value = attached ? attached.replace(/^=/, "") : nextValue(`-${letter}`, rest);
    result.push(checked(option, value));
    break;
  }
  return result;
}

/** The next argument as an option's value, unless it looks like an option. */
function nextValue(shown: string, rest: string[]): string {
  const value = rest.shift();
  if (value === undefined) throw usage(`option ${shown} needs a value`);
  if (value.startsWith("-") && value !== "-") {
    throw usage(
      `option ${shown} needs a value; one that begins with - is written ${shown}=${value}`,
    );
  }
  return value;
}

function checked({ name, choices }: OptionSpec, value: string): Given {
  if (choices && !choices.includes(value)) {
    throw usage(`option --${name} ${JSON.stringify(value)}: ${suggestion(value, choices)}`);
  }
  return [name, value];
}

function unknownOption(
  shown: string,
  command: Subject | undefined,
): VeneerError {
  const known = scopeOf(command).map(({ name }) => `--${name}`);
  const whose = command ? `\`veneer ${command.name}\`` : "veneer";
  const help = command ? `veneer ${command.name} --help` : "veneer --help";
  const near = suggestion(shown, known);
  return usage(
    `${whose} has no option ${shown}; ${
      near.startsWith("did you mean") ? near : `\`${help}\` lists them`
    }`,
  );
}

function checkOperands({ name, operands }: CommandSpec, given: readonly string[]): void {
  const missing = operands[given.length];
  if (missing && !missing.optional) {
    throw usage(`\`veneer ${name}\` needs ${missing.name}; see \`veneer ${name} --help\``);
  }
  if (given.length > operands.length && !operands.at(-1)?.repeatable) {
    const extra = JSON.stringify(given[operands.length]);
    throw usage(`\`veneer ${name}\` does not take ${extra}; see \`veneer ${name} --help\``);
  }
  for (const [i, { name: operand, choices }] of operands.entries()) {
    if (given[i] !== undefined && choices && !choices.includes(given[i])) {
      throw usage(`${operand} ${JSON.stringify(given[i])}: ${suggestion(given[i], choices)}`);
    }
  }
}

const usage = (message: string) => new VeneerError("usage", message);
