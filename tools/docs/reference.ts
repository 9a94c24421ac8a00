/**
 * The facts that the manual page and the pages below `docs/` share: every command with its options, and the
 * statuses that commands end with. All of it comes from the tables that the program itself goes by.
 *
 * @module
 */
import type { ErrorCode } from "../../lib/base/errors.ts";
import { DAMAGE_FOUND, EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import type { CommandSpec, GroupSpec, OptionSpec } from "../../lib/cli/spec.ts";
import { FIRST_WORDS, isGroup } from "../../lib/cli/table.ts";

/** The meaning of each kind of error, as the manual has it. */
const MEANINGS: Readonly<Record<ErrorCode, string>> = {
  "failed": "A system call failed; the message names the call, the path and the error.",
  "usage": "The command line is wrong.",
  "not found": "A layer, snapshot, image or parent does not exist.",
  "already exists": "The name is taken.",
  "in use": "The message names the child, the mount point or the process.",
  "not supported": "The message names the missing part.",
  "invalid argument": "An id, size, option, id map or tar is invalid.",
  "failed precondition":
    "The layer is incomplete, the snapshot has children or is of another kind, the disk is read-only, or the " +
    "user is not root.",
  "incompatible":
    "The file system is the wrong one, or the store is another driver's or one that others could write to.",
  "corrupt store": "The message names the file.",
  "limit exceeded": "Too many layers or open files, no space left, or a quota is used up.",
};

/** A status that a command can end with. */
export interface Status {
  readonly status: number;
  /** The code in JSON, if it is an error's. */
  readonly code?: ErrorCode;
  readonly meaning: string;
}

/** Every status of a command's own; a program that `exec` runs has its own ones. */
export const STATUSES: readonly Status[] = [
  { status: 0, meaning: "The command did its work." },
  ...Object.entries(EXIT_STATUS).map(([code, status]) => ({
    status,
    code: code as ErrorCode,
    meaning: MEANINGS[code as ErrorCode],
  })),
  { status: DAMAGE_FOUND, meaning: "`check` found damage." },
  { status: 130, meaning: "SIGINT (Ctrl-C) ended the command." },
  { status: 141, meaning: "The reader of standard output went away." },
  { status: 143, meaning: "SIGTERM ended the command." },
];

/** The commands that stand alone, and those behind a first word of their own, in the order of help. */
export const SECTIONS: readonly { group?: GroupSpec; commands: readonly CommandSpec[] }[] = [
  { commands: FIRST_WORDS.filter((subject): subject is CommandSpec => !isGroup(subject)) },
  ...FIRST_WORDS.filter(isGroup).map((group) => ({ group, commands: group.commands })),
];

/** An option as it is typed: `-o, --option KEY=VALUE…`. */
export function optionWords({ name, short, value, repeatable }: OptionSpec): string {
  const letter = short === undefined ? "" : `-${short}, `;
  return `${letter}--${name}${value === undefined ? "" : ` ${value}`}${repeatable ? "…" : ""}`;
}

/** A summary as a sentence. */
export const sentence = (text: string): string =>
  text === "" ? "" : `${text[0].toUpperCase()}${text.slice(1)}.`;

/** Sentences that are wrapped by hand for a terminal, in one line. */
export const unwrapped = (text: string): string => text.split("\n").join(" ");
