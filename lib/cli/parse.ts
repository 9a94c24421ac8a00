/**
 * From arguments to a command, its options and its operands.
 *
 * `parseArgs` cannot tell an option's empty value from a missing one, and takes `--json true` for one
 * argument. So the arguments are first written in the one form that has a single reading,
 * `--name=value … -- operand …`; that pass knows which options are in scope and refuses what is wrong, and
 * `parseArgs` gathers the values.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { VeneerError } from "../errors.ts";
import { suggestion } from "../options.ts";
import type { CommandSpec, OptionSpec } from "./spec.ts";
import { COMMANDS, findCommand, GLOBAL_OPTIONS } from "./table.ts";

/** A command line that was understood. */
export interface Invocation {
  /** Missing only where help or the version was asked of the program itself. */
  readonly command: CommandSpec | undefined;
  readonly options: Options;
  readonly operands: readonly string[];
}

/** The options given; each method wants one of its kind. */
export class Options {
  constructor(private readonly given: Readonly<Record<string, readonly string[]>>) {}

  /** Whether a flag was given. */
  flag(name: string): boolean {
    return this.given[name]?.at(-1) === "true";
  }

  /** The value of an option, the last one where there are several; `""` is a value. */
  value(name: string): string | undefined {
    return this.given[name]?.at(-1);
  }

  /** Every value of a repeatable option. */
  values(name: string): readonly string[] {
    return this.given[name] ?? [];
  }
}

/**
 * Reads a command line.
 *
 * @param args without the program's name
 * @throws {VeneerError} `usage`
 */
export function parseCommandLine(args: readonly string[]): Invocation {
  const { command, canonical } = normalize(args);
  const known = scopeOf(command);
  const { _, "--": operands = [], ...given } = parseArgs(canonical, {
    string: known.map((option) => option.name),
    collect: known.map((option) => option.name),
    "--": true,
  });
  const options = new Options(given as Record<string, string[]>);
  const isHelp = options.flag("help") || options.flag("version");
  if (command && !isHelp) checkOperands(command, operands);
  if (!command && !isHelp) throw usage("no command is named; `veneer --help` lists them");
  return { command, options, operands };
}

/** Writes arguments as `--name=value … -- operand …`, and finds the command. */
function normalize(args: readonly string[]): {
  command: CommandSpec | undefined;
  canonical: string[];
} {
  let command: CommandSpec | undefined;
  const options: string[] = [], operands: string[] = [];
  const rest = [...args];
  const positional = (argument: string) => {
    if (command) operands.push(argument);
    else command = commandNamed(argument);
  };
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === "--") {
      rest.forEach(positional);
      break;
    }
    if (argument.startsWith("--")) options.push(readLong(argument, rest, command));
    else if (argument.startsWith("-") && argument !== "-") {
      options.push(...readShort(argument, rest, command));
    } else positional(argument);
  }
  return { command, canonical: [...options, "--", ...operands] };
}

/** The command of a name. @throws {VeneerError} `usage` with the nearest one */
export function commandNamed(name: string): CommandSpec {
  const command = findCommand(name);
  if (command) return command;
  const names = COMMANDS.map((known) => known.name);
  throw usage(`there is no command ${JSON.stringify(name)}; ${suggestion(name, names)}`);
}

/** The options a command understands; its own come first, so that its letters win. */
function scopeOf(command: CommandSpec | undefined): readonly OptionSpec[] {
  return [...command?.options ?? [], ...GLOBAL_OPTIONS];
}

/** `--name`, `--name=value`, or `--name` and the next argument. */
function readLong(
  argument: string,
  rest: string[],
  command: CommandSpec | undefined,
): string {
  const [, name, attached] = /^--([^=]*)(?:=(.*))?$/s.exec(argument)!;
  const option = scopeOf(command).find((known) => known.name === name);
  if (!option) throw unknownOption(`--${name}`, command);
  if (option.value === undefined) {
    if (attached !== undefined) throw usage(`option --${name} takes no value`);
    return `--${name}=true`;
  }
  return canonical(option, attached ?? nextValue(`--${name}`, rest));
}

/** `-a`, `-ab` for flags, `-o value`, `-ovalue` and `-o=value`. */
function readShort(
  argument: string,
  rest: string[],
  command: CommandSpec | undefined,
): string[] {
  const result: string[] = [];
  for (let at = 1; at < argument.length; at++) {
    const letter = argument[at];
    const option = scopeOf(command).find((known) => known.short === letter);
    if (!option) throw unknownOption(at === 1 ? argument : `-${letter}`, command);
    if (option.value === undefined) {
      result.push(`--${option.name}=true`);
      continue;
    }
    const attached = argument.slice(at + 1);
    const value = attached ? attached.replace(/^=/, "") : nextValue(`-${letter}`, rest);
    result.push(canonical(option, value));
    break;
  }
  return result;
}

/** The next argument as an option's value. What looks like an option is not taken for one. */
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

function canonical({ name, choices }: OptionSpec, value: string): string {
  if (choices && !choices.includes(value)) {
    throw usage(`option --${name} ${JSON.stringify(value)}: ${suggestion(value, choices)}`);
  }
  return `--${name}=${value}`;
}

function unknownOption(shown: string, command: CommandSpec | undefined): VeneerError {
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
