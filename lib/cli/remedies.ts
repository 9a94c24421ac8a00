/**
 * Remedies in words. Only this module names `veneer` commands that mend a fault.
 *
 * @module
 */
import type { Remedy } from "../base/remedy.ts";
import { quote } from "./mount_command.ts";

/** The given options that name the store in use. Every hint repeats them. */
export interface StoreFlags {
  readonly root?: string;
  readonly driver?: string;
  /** Only for commands on snapshots and images. */
  readonly service?: string;
}

/** The commands that list things. */
const LISTS = { layers: ["ls"], snapshots: ["snapshot", "ls"], images: ["image", "ls"] } as const;

/** The commands that make a store by its first thing. */
const MAKERS = {
  layers: ["create", "ID"],
  snapshots: ["snapshot", "prepare", "KEY"],
  images: ["image", "import", "FILE"],
} as const;

/** A remedy as the part of a message after its last `; `. */
export function inWords(remedy: Remedy, store: StoreFlags): string {
  const command = (...words: string[]) => commandOn(store, words);
  switch (remedy.kind) {
    case "list":
      return `${command(...LISTS[remedy.of])} lists those that do`;
    case "list options":
      return `${command("help", "options")} lists them`;
    case "make store": {
      return `${command(...MAKERS[remedy.of])} makes one, or use another --root`;
    }
    case "umount":
      return `${command("umount", remedy.id)} first`;
    case "detach":
      return `or detach it by ${command("umount", "--lazy", remedy.id)}`;
    case "umount foreign": {
      const [id = "ID", ...more] = remedy.ids;
      return more.length === 0
        ? `${command("umount", "--force", id)} takes it down`
        : `${command("umount", "--force", "ID")} takes such a mount down`;
    }
    case "umount snapshot":
      return `${command("snapshot", "umount", remedy.key)} first`;
    case "mount":
      return `${command("mount", remedy.id)} does`;
    case "name parent":
      return 'name it with --parent (--parent "" for the whole layer)';
    case "create read-write":
      return "create it with --read-write";
    case "join":
      return remedy.of === "layers"
        ? `join layers: export one whole with ${command("diff", "ID", "--parent", "")} and apply ` +
          "that to a base layer"
        : "join layers: prepare a snapshot without a parent, copy a view's files into it, commit it";
    case "name id maps":
      return "or name its id maps with --uidmap and --gidmap";
    case "other root":
      return "use another --root";
    case "restore":
      return "restore it from a backup, or use another --root";
    case "driver":
      return remedy.among.length === 1
        ? `use --driver ${remedy.among[0]} or another --root`
        : "choose one with --driver";
    case "examine":
      return `${command("doctor")} shows the reason`;
    case "other address":
      return "or choose another --address";
    case "other name":
      return "end that first, or choose another --name";
    case "docker pool":
      return "name it with --docker-pool NAME, or for migrate with -o dm.thinpooldev=NAME";
    case "cleanup":
      return remedy.of === "layers"
        ? `${command("cleanup")} takes it down`
        : `${
          command("snapshot", "cleanup")
        } takes it down if no snapshot is active, a reboot always`;
    case "allow expansion":
      return "--allow-expansion imports it";
    case "ask engine":
      return "have its engine make the change, or end the service first";
  }
}

/** A command on the store in use, quoted for a POSIX shell, in backquotes. */
export function commandOn({ root, driver, service }: StoreFlags, words: readonly string[]): string {
  const flags = [
    ...(root === undefined ? [] : ["--root", root]),
    ...(driver === undefined ? [] : ["--driver", driver]),
  ];
  const own = service !== undefined && ["snapshot", "image"].includes(words[0])
    ? ["--service", service]
    : [];
  return `\`veneer ${[...flags, ...words, ...own].map(quote).join(" ")}\``;
}
