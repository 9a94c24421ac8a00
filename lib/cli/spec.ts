/**
 * How a command is described: enough to parse its arguments, print its help and complete it in a
 * shell. Descriptions are data and import nothing, so that help and completions load no command.
 *
 * @module
 */

/** The kind of a value, for completion. */
export type ValueKind =
  | "layer"
  | "snapshot"
  | "image"
  | "file"
  | "directory"
  | "command"
  | "driver option"
  | "storage option"
  | "filter"
  | "other";

/** An option. One without `value` is a flag. */
export interface OptionSpec {
  /** Without its dashes. */
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  /** How help writes its value, such as `DIR`. */
  readonly value?: string;
  /** Its value is one of these. */
  readonly choices?: readonly string[];
  readonly kind?: ValueKind;
  /** It may be given more than once, and every value counts; of other options the last one does. */
  readonly repeatable?: boolean;
  readonly summary: string;
}

/** An argument that is not an option. */
export interface OperandSpec {
  /** How help writes it, such as `ID`. */
  readonly name: string;
  readonly optional?: boolean;
  /** One or more; only the last operand may be. */
  readonly repeatable?: boolean;
  readonly choices?: readonly string[];
  readonly kind: ValueKind;
}

/** A command. */
export interface CommandSpec {
  /** One word; of a command in a group the group's and its own: `snapshot ls`. */
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  readonly operands: readonly OperandSpec[];
  readonly options: readonly OptionSpec[];
  /** The rest of the help after the summary: sentences, wrapped by hand. */
  readonly details?: string;
  /** A command line and its effect. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
}

/** Commands on one kind of thing, which share their first word. */
export interface GroupSpec {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** The help on the group's things: sentences, wrapped by hand. */
  readonly details: string;
  readonly commands: readonly CommandSpec[];
}

/** The command or group that one or two words name. */
export type Subject = CommandSpec | GroupSpec;
