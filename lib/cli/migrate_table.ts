/**
 * The command that moves stores from one driver to another, as data.
 *
 * @module
 */
import { DRIVERS } from "../../drivers/names.ts";
import { SERVICE } from "./snapshot_table.ts";
import type { CommandSpec } from "./spec.ts";

/** The value of `--to` for Veneer's plugin of Docker. */
export const PLUGIN = "veneer";

export const MIGRATE: CommandSpec = {
  name: "migrate",
  summary: "make the layers and snapshots at --root again with another driver",
  operands: [{ name: "ID", optional: true, repeatable: true, kind: "layer" }],
  options: [
    {
      name: "to",
      value: "DRIVER",
      choices: [...DRIVERS.map(({ name }) => name), PLUGIN],
      summary: `the driver of the new store; with --docker also ${PLUGIN}, for the plugin`,
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
    {
      name: "docker",
      value: "DIR",
      kind: "directory",
      summary: "migrate this directory of a Docker that does not run, such as /var/lib/docker",
    },
    {
      name: "plugin",
      value: "NAME",
      summary: `with --to ${PLUGIN}: the name of its socket, if that is another`,
    },
    { name: "partial", summary: "with --docker: leave out images and containers that are damaged" },
    { name: "finish", summary: "with --docker: remove what the old driver had, after a migration" },
  ],
  details:
    "Takes everything, or what the IDs name with all below it: parents first, content with hard links, attributes\n" +
    "and exact times, limits, labels, kinds and times of snapshots, images. The old store is only read, and stays.\n" +
    "Interrupted, it goes on where it was if it is run again; what is there already is not made again. What cannot\n" +
    "be migrated, such as a layer that is mounted for writing, is one warning; what stands on it is left out, the\n" +
    "rest goes on, and the status tells. --driver names the old store's driver if there are several; -o takes\n" +
    "options of both drivers.\n" +
    "\n" +
    "--docker makes Docker's layers with another driver of Docker's, below the same directory, then its records of\n" +
    "images, and has its containers use them: it starts with the same images and containers. Nothing is switched if\n" +
    "a layer cannot be migrated, unless --partial leaves out what stands on it. What the old driver had stays, and\n" +
    "containers/*/config.v2.json.OLD, until --finish. A pool of devicemapper that is not in loopback files is named\n" +
    "by -o dm.thinpooldev=NAME, with --finish as well.",
  examples: [
    ["veneer migrate --to btrfs --to-root /mnt/btrfs", "everything at /var/lib/veneer"],
    ["veneer migrate --to overlay2 --verify app", "one layer and those below it"],
    ["veneer migrate --to devicemapper --dry-run", "only a list"],
    ["veneer migrate --docker /var/lib/docker --to overlay2", "a Docker that does not run"],
    ["veneer migrate --docker /var/lib/docker --to overlay2 --finish", "once it has proved itself"],
  ],
};
