/**
 * The commands on snapshots, as data.
 *
 * @module
 */
import {
  CONFINES_NOTHING,
  EXEC_DETAILS,
  INSIDE_OPTIONS,
  PROGRAM_OPERANDS,
} from "./inside_options.ts";
import { IDMAP, IDMAP_DETAILS } from "./idmap_option.ts";
import type { CommandSpec, GroupSpec, OperandSpec, OptionSpec } from "./spec.ts";

const KEY: OperandSpec = { name: "KEY", kind: "snapshot" };
const NEW_KEY: OperandSpec = { name: "KEY", kind: "other" };

const PARENT: OptionSpec = {
  name: "parent",
  value: "NAME",
  kind: "snapshot",
  summary: "the committed snapshot below it (default: none)",
};

const AGAINST: OptionSpec = {
  ...PARENT,
  summary: 'compare with this committed snapshot; "" for none (default: its parent)',
};

const LABEL: OptionSpec = {
  name: "label",
  value: "KEY=VALUE",
  repeatable: true,
  summary: "a label of the snapshot",
};

const TARGET: OptionSpec = {
  name: "target",
  short: "t",
  value: "DIR",
  kind: "directory",
  summary: "print the commands that mount it at DIR",
};

/** The option of commands on snapshots and images. */
export const SERVICE: OptionSpec = {
  name: "service",
  value: "NAME",
  summary: "the store of a service, DIR/services/NAME below --root",
};

/** The option of commands that write a tar. */
export const OUTPUT: OptionSpec = {
  name: "output",
  short: "o",
  value: "FILE",
  kind: "file",
  summary: "write to FILE, which appears when it is complete; - is standard output",
};

/** Of lists. */
export const NO_TRUNC: OptionSpec = {
  name: "no-trunc",
  summary: "shorten no ids and cut no lines on a terminal",
};

/** Of lists. */
export const TEMPLATE: OptionSpec = {
  name: "format",
  value: "TEMPLATE",
  summary: "print a line of this form for each, such as '{parent}\\t{created}'",
};

/** The option of commands that draw a tree. */
export const GRAPH_FORMAT: OptionSpec = {
  name: "format",
  value: "FORMAT",
  choices: ["dot", "mermaid"],
  summary: "write the graph for Graphviz (dot) or Mermaid instead",
};

/** The option of commands that print sizes. */
export const BYTES: OptionSpec = {
  name: "bytes",
  short: "b",
  summary: "print sizes in bytes",
};

/** The help of `df`, for layers and snapshots. */
export const DF_DETAILS =
  "OWN is the space of its own files, SHARED that of all below it, and RECLAIMABLE the space that its removal\n" +
  "would give back now: none if it has children or is in use, as HELD BY shows.";

/** `veneer snapshot …` */
export const SNAPSHOTS: GroupSpec = {
  name: "snapshot",
  summary: "prepare, mount, commit and list snapshots, as containerd knows them",
  details:
    "A snapshot is prepared under a key, on a committed one or on nothing, mounted and changed. Committed under a\n" +
    "name it never changes again, and others can stand on it. A view is one that cannot be changed. Keys and names\n" +
    "are one namespace and any text; they are kept apart from the layers of `veneer ls`. --service NAME reads the\n" +
    "store of a service while that runs; commands that would change it are refused then.",
  commands: ([
    {
      name: "snapshot prepare",
      summary: "make a snapshot to be changed",
      operands: [NEW_KEY],
      options: [PARENT, LABEL, TARGET],
      examples: [
        ["veneer snapshot prepare work --parent base", "to be mounted and changed"],
        ["veneer snapshot prepare work -t /mnt | sh", "and mount it at /mnt"],
      ],
    },
    {
      name: "snapshot view",
      summary: "make a snapshot that can only be read",
      operands: [NEW_KEY],
      options: [PARENT, LABEL, TARGET],
      examples: [["veneer snapshot view look --parent base", ""]],
    },
    {
      name: "snapshot apply",
      summary: "fill a snapshot from a tar and print the bytes of its files",
      operands: [KEY, { name: "FILE|-", optional: true, kind: "file" }],
      options: [],
      details:
        "The tar may be plain, gzip or zstd; - or no FILE is standard input. It is applied to the snapshot's\n" +
        "tree, whiteouts included, so an image's layers are each prepared on the one before, applied and committed.\n" +
        "A snapshot on which this failed is incomplete: apply again or remove it.",
      examples: [
        ["veneer snapshot prepare work --parent base", ""],
        ["veneer snapshot apply work layer.tar.gz", "an image's second layer"],
        ["veneer snapshot commit app work", ""],
      ],
    },
    {
      name: "snapshot diff",
      summary: "write the changes of a snapshot as a tar",
      operands: [KEY],
      options: [AGAINST, OUTPUT],
      details:
        "After `snapshot diff`, -o is --output; a driver's option is written --option there.",
      examples: [["veneer snapshot diff app -o app.tar", ""]],
    },
    {
      name: "snapshot changes",
      summary: "list the paths that a snapshot adds (A), changes (C) and deletes (D)",
      operands: [KEY],
      options: [AGAINST],
      details:
        "Control characters and backslashes in paths are written as octal escapes, such as \\012.",
      examples: [["veneer snapshot changes work", "its changes so far"]],
    },
    {
      name: "snapshot commit",
      summary: "end the changes of a snapshot and give it a name",
      operands: [{ name: "NAME", kind: "other" }, KEY],
      options: [
        LABEL,
        {
          ...PARENT,
          summary: "set this parent; only if it was prepared without one",
        },
      ],
      details: "The key is gone then. The labels are those given here; the key's are not copied.",
      examples: [[
        "veneer snapshot commit app work",
        "the snapshot prepared as work is app from now on",
      ]],
    },
    {
      name: "snapshot mounts",
      summary: "print how a snapshot is mounted; with DIR, as commands",
      operands: [KEY, { name: "DIR", optional: true, kind: "directory" }],
      options: [],
      examples: [
        ["veneer snapshot mounts work --json", "types, sources and lists of options"],
        ["veneer snapshot mounts work /mnt | sh", "mount it by mount(8)"],
      ],
    },
    {
      name: "snapshot mount",
      summary: "mount a snapshot and print the path of its root",
      operands: [KEY, { name: "DIR", optional: true, kind: "directory" }],
      options: [IDMAP],
      details:
        "Without DIR a directory below the store is made for it, and goes with `veneer snapshot umount`.\n" +
        IDMAP_DETAILS,
      examples: [
        ['m=$(veneer snapshot mount work) && cd "$m"', "mount work and go there"],
        ["veneer snapshot mount work /mnt", ""],
      ],
    },
    {
      name: "snapshot umount",
      summary: "undo `snapshot mount`",
      operands: [{ name: "KEY|DIR", kind: "snapshot" }],
      options: [],
      details:
        "A directory is written with a slash, such as ./mnt. A mount that is in use stays, and the message names\n" +
        "its user.",
      examples: [["veneer snapshot umount work", ""], ["veneer snapshot umount /mnt", ""]],
    },
    {
      name: "snapshot exec",
      summary: "run a program in a snapshot, which is mounted for that long",
      operands: [KEY, ...PROGRAM_OPERANDS],
      options: INSIDE_OPTIONS,
      details: EXEC_DETAILS,
      examples: [["veneer snapshot exec work -- make install", ""]],
    },
    {
      name: "snapshot shell",
      summary: "run a shell in a snapshot, which is mounted for that long",
      operands: [KEY],
      options: INSIDE_OPTIONS,
      details: CONFINES_NOTHING,
      examples: [["veneer snapshot shell work", ""]],
    },
    {
      name: "snapshot rm",
      summary: "remove snapshots",
      operands: [{ ...KEY, repeatable: true }],
      options: [],
      details:
        "Goes on past one that cannot be removed; the exit status is that of the first failure.",
      examples: [["veneer snapshot rm work app", ""]],
    },
    {
      name: "snapshot stat",
      summary: "show the details of a snapshot",
      operands: [KEY],
      options: [],
      examples: [["veneer snapshot stat app --json", "as a JSON object"]],
    },
    {
      name: "snapshot label",
      summary: "set labels of a snapshot (KEY=VALUE) or remove them (KEY=)",
      operands: [KEY, { name: "KEY=VALUE", repeatable: true, kind: "other" }],
      options: [],
      details: "Labels that are not named stay as they are.",
      examples: [["veneer snapshot label app team=blue draft=", "set team, remove draft"]],
    },
    {
      name: "snapshot ls",
      summary: "list snapshots; with filters, those that match one of them",
      operands: [{ name: "FILTER", optional: true, repeatable: true, kind: "filter" }],
      options: [
        { name: "quiet", short: "q", summary: "print keys and names only" },
        NO_TRUNC,
        {
          name: "null",
          short: "0",
          summary: "print keys and names only, each as it is and with a NUL behind it",
        },
        TEMPLATE,
      ],
      details:
        "Filters are containerd's: FIELD, FIELD==VALUE, FIELD!=VALUE or FIELD~=REGEXP, joined by commas, where a field\n" +
        'is name, parent, kind (active, view, committed) or labels."KEY". In keys and names, control characters and\n' +
        "backslashes are written as octal escapes, such as \\012. A TEMPLATE is text with fields in braces: {name},\n" +
        "{parent}, {kind}, {created}, {updated}, {layer}, {labels}, {labels.KEY}, {size}, {bytes}. A kind with\n" +
        "`offered` is a layer that a service offers to containerd, which has not taken it.",
      examples: [
        ["veneer snapshot ls kind==active", ""],
        ["veneer snapshot ls --format '{name}\\t{size}\\t{labels.team}'", ""],
        ["veneer snapshot ls --service veneer", "the snapshots of containerd"],
        [`veneer snapshot ls 'name~="^app",labels.team==blue' kind==view`, "these, and all views"],
        ["veneer snapshot ls -0 kind==view | xargs -0 veneer snapshot rm", ""],
      ],
    },
    {
      name: "snapshot tree",
      summary: "draw the snapshots with their sizes",
      operands: [],
      options: [
        { name: "brief", summary: "leave out sizes, which may have to be counted" },
        GRAPH_FORMAT,
        NO_TRUNC,
      ],
      details:
        "An only child stands below its parent after ↳; if a snapshot has several, they branch off.",
      examples: [["veneer snapshot tree", ""]],
    },
    {
      name: "snapshot df",
      summary: "show the disk space of each snapshot, and how much its removal frees",
      operands: [],
      options: [BYTES, NO_TRUNC],
      details: DF_DETAILS,
      examples: [["veneer snapshot df", "the largest first"]],
    },
    {
      name: "snapshot usage",
      summary: "print the disk space and inodes that snapshots add",
      operands: [{ ...KEY, optional: true, repeatable: true }],
      options: [BYTES],
      details: "Of all snapshots if none is named.",
      examples: [["veneer snapshot usage app", ""]],
    },
    {
      name: "snapshot cleanup",
      summary: "finish interrupted removals, release the store",
      operands: [],
      options: [],
      examples: [["veneer snapshot cleanup", ""]],
    },
  ] satisfies CommandSpec[]).map((command) => ({
    ...command,
    options: [...command.options, SERVICE],
  })),
};
