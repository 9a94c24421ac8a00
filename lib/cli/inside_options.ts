/**
 * The options of `exec` and `shell`, for layers, snapshots and images.
 *
 * @module
 */
import type { OperandSpec, OptionSpec } from "./spec.ts";

/**
 * The first argument with which this program starts itself, to become another program in a tree.
 */
export const INSIDE = "--inside";

/** The program and its arguments, after the tree's name. */
export const PROGRAM_OPERANDS: readonly OperandSpec[] = [
  { name: "COMMAND", kind: "other" },
  { name: "ARG", optional: true, repeatable: true, kind: "other" },
];

export const INSIDE_OPTIONS: readonly OptionSpec[] = [
  { name: "mount-system", summary: "mount /proc, /sys and /dev of this host in it" },
  { name: "user", value: "UID[:GID]", summary: "run as this user of the host (default: root)" },
  {
    name: "env",
    value: "NAME=VALUE",
    repeatable: true,
    summary: "set a variable; NAME alone takes it over from here",
  },
  { name: "workdir", value: "DIR", summary: "begin in this directory of it (default: /)" },
];

/** The help about their use. */
export const CONFINES_NOTHING =
  "This confines nothing: its programs run with all rights that the user, root by default, has on this host.\n" +
  "They get PATH, HOME and TERM alone, in a mount namespace of their own. The exit status is the program's, 128\n" +
  "and more if a signal ended it, 127 if it is missing, 126 if it cannot be run.";

/** The help for a command line with a program. */
export const EXEC_DETAILS =
  `Write -- before the program, so that its options are its own.\n${CONFINES_NOTHING}`;
