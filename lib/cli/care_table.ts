/**
 * The commands that check and repair stores, as data.
 *
 * @module
 */
import { SERVICE } from "./snapshot_table.ts";
import type { CommandSpec } from "./spec.ts";

/** `veneer check` */
export const CHECK: CommandSpec = {
  name: "check",
  summary: "look for damage in the stores at --root, and name the layers that it breaks",
  operands: [{ name: "ID", optional: true, repeatable: true, kind: "layer" }],
  options: [
    { name: "quick", summary: "records and structure (the default): seconds for 10,000 layers" },
    { name: "deep", summary: "also compare files with the record of their layer's apply" },
    { name: "record", summary: "with --deep: record, with hashes, the layers without a record" },
    SERVICE,
  ],
  details:
    "Checks layers and snapshots of every driver, or of --driver alone, and those that Docker made. Changes\n" +
    "nothing, waits for no lock and works while the store is in use. With IDs, of layers or snapshots, it shows\n" +
    "only the findings that break these. A finding is one line: its kind, the file and its fault, the layers that\n" +
    "it breaks, and a remedy. A deep check finds files that are missing, added, emptied, shortened or changed in\n" +
    "layers that were not mounted for writing since their apply; with hashes (-o record=hash), also\n" +
    "flipped bits. --record makes such records of layers and committed snapshots that have none. Ends with status\n" +
    "12 if there is damage; a note, of a leftover that a cleanup deletes, is none. `repair` mends what is found,\n" +
    "`doctor` examines the machine, `gc` lists orphans.",
  examples: [
    ["veneer check", "everything at /var/lib/veneer"],
    ["veneer --root /var/lib/docker check --json", "a store of Docker's, also while that runs"],
    ["veneer check --service veneer", "the snapshots of containerd"],
    ["veneer check --deep --record", "contents, now and from now on"],
  ],
};

/** `veneer repair` */
export const REPAIR: CommandSpec = {
  name: "repair",
  summary: "mend the damage that `check` finds, and move aside what cannot be mended",
  operands: [{ name: "ID", optional: true, repeatable: true, kind: "layer" }],
  options: [
    {
      name: "from",
      value: "TAR|DIR|IMAGE|DUMP",
      kind: "file",
      summary:
        "restore the files of the layer or committed snapshot ID from its tar (- for standard input), " +
        "a copy, or an image; without ID, a pool's metadata from a dump of thin_dump",
    },
    {
      name: "of",
      value: "KIND",
      choices: ["layers", "snapshots"],
      summary: "the pool that a dump is of, if it cannot be told from the dump",
    },
    { name: "dry-run", summary: "only show what would be done" },
    SERVICE,
  ],
  details:
    "Makes records, links and directories again from those that are left, and from Docker's records. A layer that\n" +
    "cannot be mended is moved into .veneer/quarantine of its store with all layers that stand on it; nothing is\n" +
    "deleted, and what was replaced is kept there, too, with a list. With IDs, of layers or snapshots, only what\n" +
    "breaks these is mended. A lost database of snapshots is made again from what can be read of it and from the\n" +
    "layers on disk. Mounted layers are never moved. Refused while a service or Docker has the store. Ends with\n" +
    "status 12 if damage is left. `check` shows beforehand what is damaged, and --dry-run what would be done.\n" +
    "With --from, the files of one layer, or of one committed snapshot, given by its whole name, are compared with\n" +
    "those of its tar, or of a copy of its directory, such as the layer's in another store, or of an image: an\n" +
    "archive or OCI layout, or one in the store. Tars and archives may be plain, gzip or zstd. Damaged files are\n" +
    "replaced, in place and without a change to the layers on it. Without ID, --from makes the metadata of a\n" +
    "devicemapper store's pool again, from a dump that thin_dump made of it; the pool must not be active. If\n" +
    "both layers and snapshots have a pool, it takes the one that the dump fits, or the one that --of names.",
  examples: [
    ["veneer repair --dry-run", "what it would do"],
    ["veneer repair app", "only what breaks layer app"],
    ["veneer repair app --from app.tar.gz", "its damaged files"],
    ["veneer repair --from pool.xml", "the pool's metadata, from a dump"],
    ["veneer --root /var/lib/docker repair", "after a stop of Docker"],
  ],
};

/** `veneer gc` */
export const GC: CommandSpec = {
  name: "gc",
  summary: "list files that no record names, and records of files that are missing",
  operands: [],
  options: [
    { name: "delete", summary: "delete them, instead of only listing them" },
    SERVICE,
  ],
  details:
    "Shows each with its size and age: links, records and mount points of layers that are gone, and in a store of\n" +
    "Docker's the layers that no image and no container has. --delete is refused there while Docker runs. `cleanup`\n" +
    "finishes the work of killed commands and undoes their mounts: run that one first, and often. gc is for the\n" +
    "leftovers of other programs, power cuts and lost databases, and lists nothing that `cleanup` finishes.",
  examples: [
    ["veneer gc", "only a list"],
    ["veneer --root /var/lib/docker gc --delete", "after a stop of Docker"],
  ],
};
