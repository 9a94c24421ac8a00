/**
 * The descriptions of commands: enough to parse arguments, print help and complete them in a shell.
 * Descriptions are data and import nothing, so that help and completions load no command.
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
  /** Its name without dashes. */
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  /** The word for its value in the help, such as `DIR`. */
  readonly value?: string;
  /** The valid values. */
  readonly choices?: readonly string[];
  readonly kind?: ValueKind;
  /**
   * Whether it may be given more than once, and all values count. Of other options the last value
   * counts.
   */
  readonly repeatable?: boolean;
  readonly summary: string;
}

/** An argument that is not an option. */
export interface OperandSpec {
  /** The word for it in the help, such as `ID`. */
  readonly name: string;
  readonly optional?: boolean;
  /** Whether it may be given more than once. Only the last operand may have this. */
  readonly repeatable?: boolean;
  readonly choices?: readonly string[];
  readonly kind: ValueKind;
}

/** A command. */
export interface CommandSpec {
  /** One word; for a command in a group the group's word and its own: `snapshot ls`. */
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
  /** The help about the group: sentences, wrapped by hand. */
  readonly details: string;
  readonly commands: readonly CommandSpec[];
}

/** The command or group that one or two words name. */
export type Subject = CommandSpec | GroupSpec;
