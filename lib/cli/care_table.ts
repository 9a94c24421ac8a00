/**
 * The commands that look after stores, as data.
 *
 * @module
 */
import { SERVICE } from "./snapshot_table.ts";
import type { CommandSpec } from "./spec.ts";

/** Checks what is on disk. */
export const CHECK: CommandSpec = {
  name: "check",
  summary: "look for damage in the stores at --root, and tell what it breaks",
  operands: [{ name: "ID", optional: true, repeatable: true, kind: "layer" }],
  options: [
    { name: "quick", summary: "records and structure (the default): seconds for 10,000 layers" },
    { name: "deep", summary: "also compare files with what their layer's apply recorded" },
    SERVICE,
  ],
  details:
    "Checks layers and snapshots of every driver, or of --driver alone, and those that Docker made. Changes\n" +
    "nothing, waits for nobody and works while the store is in use; with IDs, only what breaks those layers,\n" +
    "snapshots' keys or names. One line a finding: its kind, the file, what is wrong, what that breaks, and a\n" +
    "remedy. A deep check tells files that are missing, added, emptied, shortened or changed in layers that were\n" +
    "applied with -o record=sizes and not mounted for writing since. Ends with status 12 if there is damage. `doctor` examines the machine, `gc` lists what nothing needs.",
  examples: [
    ["veneer check", "everything at /var/lib/veneer"],
    ["veneer --root /var/lib/docker check --json", "a store of Docker's, also while that runs"],
    ["veneer check --service veneer", "the snapshots of containerd"],
  ],
};

/** Lists what nothing needs. */
export const GC: CommandSpec = {
  name: "gc",
  summary: "list what on disk no record knows, and records of what is not there",
  operands: [],
  options: [
    { name: "delete", summary: "delete what nothing needs, instead of only listing it" },
    SERVICE,
  ],
  details:
    "Shows each with its size and age: links, records and mount points of layers that are gone, and in a store of\n" +
    "Docker's the layers that no image and no container has. --delete is refused there while Docker runs. `cleanup`\n" +
    "finishes what killed commands left and undoes their mounts: run that one first, and often; gc is for what other\n" +
    "programs, power cuts and lost databases leave, and nothing of `cleanup`'s is in its list.",
  examples: [
    ["veneer gc", "only a list"],
    ["veneer --root /var/lib/docker gc --delete", "after a stop of Docker"],
  ],
};
