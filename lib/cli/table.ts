/**
 * All commands and options, as data for parsing, help and completions.
 *
 * @module
 */
import {
  CONFINES_NOTHING,
  EXEC_DETAILS,
  INSIDE_OPTIONS,
  PROGRAM_OPERANDS,
} from "./inside_options.ts";
import { CHECK, GC, REPAIR } from "./care_table.ts";
import { MIGRATE } from "./migrate_table.ts";
import { AUTO, DEFAULT_ROOT, DRIVER_NAMES, DRIVERS } from "../../drivers/names.ts";
import { CONFIG, SERVICE_OPTIONS } from "./config_table.ts";
import { CONTAINERS, IMAGES } from "./image_table.ts";
import { SERVE } from "./serve_table.ts";
import {
  BYTES,
  DF_DETAILS,
  GRAPH_FORMAT,
  NO_TRUNC,
  OUTPUT,
  SNAPSHOTS,
  TEMPLATE,
} from "./snapshot_table.ts";
import { IDMAP, IDMAP_DETAILS } from "./idmap_option.ts";
import type { CommandSpec, GroupSpec, OperandSpec, OptionSpec, Subject } from "./spec.ts";

/** The values of `--log-level`, from the least to the most output. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** The options of every command. They may be given before or after its name. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  {
    name: "root",
    value: "DIR",
    kind: "directory",
    summary: `where stores are (default ${DEFAULT_ROOT})`,
  },
  {
    name: "driver",
    value: "NAME",
    choices: DRIVER_NAMES,
    summary: `${AUTO} (the default), ${alternatives(DRIVERS.map(({ name }) => name))}`,
  },
  {
    name: "option",
    short: "o",
    value: "KEY=VALUE",
    repeatable: true,
    kind: "driver option",
    summary: "an option of the driver; `veneer help options` lists them",
  },
  {
    name: "uidmap",
    value: "CONTAINER:HOST:SIZE",
    repeatable: true,
    summary: "host ids of the users inside layers, such as 0:100000:65536",
  },
  {
    name: "gidmap",
    value: "CONTAINER:HOST:SIZE",
    repeatable: true,
    summary: "the same for groups",
  },
  {
    name: "store",
    value: "NAME",
    summary: "the store that the configuration file has as [stores.NAME]",
  },
  {
    name: "config",
    value: "FILE",
    kind: "file",
    summary: "the configuration file (default /etc/veneer/config.toml)",
  },
  { name: "json", summary: "print results and errors as JSON" },
  {
    name: "log-level",
    value: "LEVEL",
    choices: LOG_LEVELS,
    summary: "error, warn (the default), info or debug",
  },
  { name: "help", short: "h", summary: "print help, of a command after its name" },
  { name: "version", summary: "print the version" },
];

const ID: OperandSpec = { name: "ID", kind: "layer" };
const NEW_ID: OperandSpec = { name: "ID", kind: "other" };

const PARENT: OptionSpec = {
  name: "parent",
  value: "ID",
  kind: "layer",
  summary: 'compare with this layer, or with none if it is "" (default: the recorded parent)',
};

const MOUNT_LABEL: OptionSpec = {
  name: "mount-label",
  value: "LABEL",
  summary: "an SELinux label, for the mount option context=",
};

const READ_ONLY: OptionSpec = {
  name: "read-only",
  summary: "refuse writes through this mount",
};

/** The possible first words of a command line, in the order of help. */
export const FIRST_WORDS: readonly Subject[] = [
  {
    name: "create",
    summary: "make an empty layer",
    operands: [NEW_ID],
    options: [
      { name: "parent", value: "ID", kind: "layer", summary: "the layer below it" },
      { name: "read-write", summary: "for a container to write to: storage options apply" },
      {
        name: "storage-opt",
        value: "KEY=VALUE",
        repeatable: true,
        kind: "storage option",
        summary: "a limit for the layer: size=10G, inodes=100000",
      },
      MOUNT_LABEL,
    ],
    examples: [["veneer create app --parent base", "a layer on top of base"]],
  },
  {
    name: "rm",
    summary: "remove layers",
    operands: [{ ...ID, repeatable: true }],
    options: [],
    details:
      "Goes on past a layer that cannot be removed; the exit status is that of the first failure.",
    examples: [["veneer rm app base", "app, then the layer it stood on"]],
  },
  {
    name: "mount",
    summary: "mount a layer and print the path of its root",
    operands: [ID],
    options: [
      READ_ONLY,
      MOUNT_LABEL,
      { name: "volatile", summary: "never sync writes (overlay2): fast, but a crash loses them" },
      IDMAP,
    ],
    details:
      "Mounts are counted: each `mount` wants one `umount`. A layer that has children is mounted read-only.\n" +
      IDMAP_DETAILS,
    examples: [
      ['m=$(veneer mount app) && cd "$m"', "mount app and go there"],
      ["veneer mount --idmap 0:100000:65536 app", "for a user namespace"],
    ],
  },
  {
    name: "umount",
    summary: "undo one mount of a layer; the last one unmounts it",
    operands: [ID],
    options: [
      { name: "lazy", summary: "detach a busy mount: it ends with its last user" },
      { name: "force", summary: "also a mount that Veneer has no record of having made" },
    ],
    details: "A mount that is in use stays, and the message names its user.",
    examples: [["veneer umount app", ""]],
  },
  {
    name: "exec",
    summary: "run a program in a layer, which is mounted for that long",
    operands: [ID, ...PROGRAM_OPERANDS],
    options: [READ_ONLY, ...INSIDE_OPTIONS],
    details: EXEC_DETAILS,
    examples: [
      ["veneer exec app -- apk add curl", ""],
      ["veneer exec app --read-only -- cat /etc/os-release", "of a layer with children, too"],
    ],
  },
  {
    name: "shell",
    summary: "run a shell in a layer, which is mounted for that long",
    operands: [ID],
    options: [READ_ONLY, ...INSIDE_OPTIONS],
    details: CONFINES_NOTHING,
    examples: [["veneer shell app", ""]],
  },
  {
    name: "exists",
    summary: "succeed if a layer exists, end with status 3 if not; print nothing",
    operands: [ID],
    options: [],
    examples: [["veneer exists app || veneer create app", "make app if it is missing"]],
  },
  {
    name: "ls",
    summary: "list layers",
    operands: [],
    options: [{ name: "quiet", short: "q", summary: "print ids only" }, NO_TRUNC, TEMPLATE],
    details:
      "A TEMPLATE is text with fields in braces: {id}, {parent}, {state}, {uses}, {created}, {mounted}, and, counted as\n" +
      "by `df`, {size} or {bytes}; \\t and \\n are a tab and a newline.",
    examples: [["veneer ls", ""], ["veneer ls --format '{id}\\t{size}'", ""]],
  },
  {
    name: "tree",
    summary: "draw the layers with their sizes and mounts",
    operands: [],
    options: [
      { name: "brief", summary: "leave out sizes, which cost a walk through every layer" },
      GRAPH_FORMAT,
      NO_TRUNC,
    ],
    details:
      "An only child stands below its parent after ↳; if a layer has several, they branch off.",
    examples: [["veneer tree", ""], [
      "veneer tree --format dot | dot -Tsvg > layers.svg",
      "a picture, by Graphviz",
    ]],
  },
  {
    name: "df",
    summary: "show the disk space of each layer, and how much its removal frees",
    operands: [],
    options: [BYTES, NO_TRUNC],
    details: DF_DETAILS,
    examples: [["veneer df", "the largest first"]],
  },
  {
    name: "inspect",
    summary: "show the details of a layer",
    operands: [ID],
    options: [],
    examples: [["veneer inspect app --json", "as a JSON object"]],
  },
  {
    name: "changes",
    summary: "list the paths that a layer adds (A), changes (C) and deletes (D)",
    operands: [ID],
    options: [PARENT],
    details:
      "Control characters and backslashes in paths are written as octal escapes, such as \\012.",
    examples: [["veneer changes app", "against the layer below it"], [
      'veneer changes app --parent ""',
      "every file it shows",
    ]],
  },
  {
    name: "diff",
    summary: "write the changes of a layer as a tar",
    operands: [ID],
    options: [PARENT, OUTPUT, {
      name: "compress",
      value: "HOW",
      choices: ["gzip", "zstd", "none"],
      summary: "how the tar is compressed: gzip, zstd or none (the default)",
    }],
    details:
      "After `diff`, -o is --output; a driver's option is written --option there. All processors compress.",
    examples: [
      ["veneer diff app -o app.tar", ""],
      ["veneer diff app --compress zstd -o app.tar.zst", ""],
    ],
  },
  {
    name: "apply",
    summary: "fill a layer from a tar and print the bytes of its files",
    operands: [ID, { name: "FILE|-", optional: true, kind: "file" }],
    options: [{
      ...PARENT,
      summary: "the layer that the tar is a change of (default: the recorded parent)",
    }],
    details:
      "The tar may be plain, gzip or zstd; - or no FILE is standard input. A layer on which this failed is\n" +
      "incomplete: apply again or remove it.",
    examples: [["veneer apply base base.tar.gz", ""]],
  },
  {
    name: "diffsize",
    summary: "print the bytes of the files that a layer changes",
    operands: [ID],
    options: [PARENT],
    examples: [["veneer diffsize app", ""]],
  },
  SNAPSHOTS,
  IMAGES,
  CONTAINERS,
  SERVE,
  CONFIG,
  {
    name: "status",
    summary: "show the state and the settings of the driver",
    operands: [],
    options: [],
    examples: [["veneer status", ""]],
  },
  {
    name: "cleanup",
    summary: "unmount leftovers of killed commands, finish interrupted removals, release the store",
    operands: [],
    options: [],
    examples: [["veneer cleanup", ""]],
  },
  CHECK,
  REPAIR,
  GC,
  MIGRATE,
  {
    name: "doctor",
    summary: "check which drivers this machine can run, and how to mend the others",
    operands: [],
    options: [...SERVICE_OPTIONS],
    details:
      "Asks the service for containerd whether it answers, and containerd whether it has it as a snapshotter.\n" +
      "Succeeds if at least one driver can run.",
    examples: [
      ["veneer doctor --root /mnt/store", "of a store on another file system"],
      ["veneer doctor --address /run/v.sock --name ci", "of another service"],
    ],
  },
  {
    name: "version",
    summary: "print the versions of Veneer and of its runtime",
    operands: [],
    options: [],
    examples: [["veneer version --json", ""]],
  },
  {
    name: "completions",
    summary: "print a shell's completion script",
    operands: [{ name: "SHELL", choices: ["bash", "zsh", "fish"], kind: "other" }],
    options: [],
    examples: [
      ["veneer completions bash > /etc/bash_completion.d/veneer", ""],
      ["veneer completions zsh > /usr/local/share/zsh/site-functions/_veneer", ""],
      ["veneer completions fish > ~/.config/fish/completions/veneer.fish", ""],
    ],
  },
  {
    name: "help",
    summary: "print help, or that on a command or on the options of drivers",
    operands: [{ name: "COMMAND", optional: true, repeatable: true, kind: "command" }],
    options: [],
    examples: [
      ["veneer help diff", ""],
      ["veneer help snapshot ls", ""],
      ["veneer help options", "the keys of -o and --storage-opt"],
    ],
  },
];

export const GROUPS: readonly GroupSpec[] = FIRST_WORDS.filter(isGroup);

/** All commands, including those of groups. */
export const COMMANDS: readonly CommandSpec[] = FIRST_WORDS.flatMap((entry) =>
  isGroup(entry) ? entry.commands : [entry]
);

export function isGroup(entry: Subject): entry is GroupSpec {
  return "commands" in entry;
}

/** `a, b or c`. */
function alternatives(words: readonly string[]): string {
  return [words.slice(0, -1).join(", "), ...words.slice(-1)].filter(Boolean).join(" or ");
}

/** A command's own word: the last of its name. */
export function ownWord({ name }: Subject): string {
  return name.slice(name.indexOf(" ") + 1);
}
