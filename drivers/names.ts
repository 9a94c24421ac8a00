/**
 * The list of all drivers. A new driver is added here only: the command line's choices and help,
 * the registry, completions and `doctor` use this list.
 *
 * It is light: it imports the drivers' definitions, not their code.
 *
 * @module
 */
import { INFLATERS } from "../lib/base/inflater.ts";
import { SYNC_MODES } from "../lib/base/sync_mode.ts";
import { aufs } from "./aufs/mod.ts";
import { btrfs } from "./btrfs/mod.ts";
import type { DriverDefinition, OptionHelp } from "./definition.ts";
import { devicemapper } from "./devicemapper/mod.ts";
import { overlay2 } from "./overlay2/mod.ts";

/** All drivers, in the order in which `auto` tries them if there is no store. */
export const DRIVERS: readonly DriverDefinition[] = [overlay2, btrfs, aufs, devicemapper];

/** The default directory of stores. */
export const DEFAULT_ROOT = "/var/lib/veneer";

/** The name that stands for the store's driver, or else for the first one that can run. */
export const AUTO = "auto";

/** The options that every driver has. */
export const COMMON_OPTIONS: readonly OptionHelp[] = [
  {
    key: "sync",
    value: SYNC_MODES.join("|"),
    choices: SYNC_MODES,
    summary:
      "the data that is on disk before an apply or commit counts as complete; none by default",
  },
  {
    key: "record",
    value: "none|sizes|hash",
    choices: ["none", "sizes", "hash"],
    summary: "the facts about its files that an apply records for a deep check; sizes by default",
  },
  {
    key: "workers",
    value: "0|1",
    choices: ["0", "1"],
    summary: "the threads that help an apply or diff; 1 (the default) helps large ones",
  },
  {
    key: "inflate",
    value: INFLATERS.join("|"),
    choices: INFLATERS,
    summary: "decompress tars by ISA-L and libzstd if they are installed (auto), or without them",
  },
  {
    key: "snapshot.size",
    value: "SIZE",
    summary: "the most that a container's snapshot may take; not aufs",
  },
  {
    key: "snapshot.inodes",
    value: "COUNT",
    summary: "the same for the number of files; overlay2 alone",
  },
  {
    key: "snapshot.remap",
    value: "true|false",
    choices: ["true", "false"],
    summary: "whether containerd 2 maps ids as it mounts; false by default; overlay2 alone",
  },
  {
    key: "usage.age",
    value: "SECONDS",
    summary: "the time that a service repeats a count of a container's space for; default 60",
  },
];

/** The names that `--driver` accepts. */
export const DRIVER_NAMES: readonly string[] = [AUTO, ...DRIVERS.map(({ name }) => name)];
