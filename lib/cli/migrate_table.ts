/**
 * The command that takes stores from one driver to another, as data.
 *
 * @module
 */
import { DRIVERS } from "../../drivers/names.ts";
import { SERVICE } from "./snapshot_table.ts";
import type { CommandSpec } from "./spec.ts";

export const MIGRATE: CommandSpec = {
  name: "migrate",
  summary: "make the layers and snapshots at --root again with another driver",
  operands: [{ name: "ID", optional: true, repeatable: true, kind: "layer" }],
  options: [
    {
      name: "to",
      value: "DRIVER",
      choices: DRIVERS.map(({ name }) => name),
      summary: "the driver of the new store",
    },
    {
      name: "to-root",
      value: "DIR",
      kind: "directory",
      summary: "the root of the new store; --root by default, beside the old one",
    },
    { name: "verify", summary: "compare each tree with its source's; reads both whole" },
    { name: "dry-run", summary: "only list what would be migrated, with sizes" },
    SERVICE,
  ],
  details:
    "Takes everything, or what the IDs name with all below it: parents first, content with hard links, attributes\n" +
    "and exact times, limits, labels, kinds and times of snapshots, images. The old store is only read, and stays.\n" +
    "Interrupted, it goes on where it was if it is run again; what is there already is not made again. What cannot\n" +
    "be migrated, such as a layer that is mounted for writing, is one warning; what stands on it is left out, the\n" +
    "rest goes on, and the status tells. --driver names the old store's driver if there are several; -o takes\n" +
    "options of both drivers.",
  examples: [
    ["veneer migrate --to btrfs --to-root /mnt/btrfs", "everything at /var/lib/veneer"],
    ["veneer migrate --to overlay2 --verify app", "one layer and those below it"],
    ["veneer migrate --to devicemapper --dry-run", "only a list"],
  ],
};
