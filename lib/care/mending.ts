/**
 * The mending of damage: in words for users, and as the steps that `repair` takes. Each function
 * here makes both, so that they agree.
 *
 * @module
 */
import type { ConfinedPath } from "../tree/confined.ts";

/**
 * A change of a store's files. A killed process leaves either the old or the new state. Paths are
 * relative to the home. Replaced things are kept in the quarantine.
 */
export type Step =
  /** A file with this text that belongs to root. */
  | { readonly do: "record"; readonly path: string; readonly text: string; readonly mode: number }
  /** An empty directory; with `layer`, it belongs to the root of that layer's id maps. */
  | {
    readonly do: "directory";
    readonly path: string;
    readonly mode: number;
    readonly layer?: string;
  }
  /** A symbolic link. */
  | { readonly do: "link"; readonly path: string; readonly target: string }
  /** A copy of the file that belongs to root and that no process has open. */
  | { readonly do: "adopt"; readonly path: string }
  /** Group and others lose the write permission. */
  | { readonly do: "close"; readonly path: string }
  /** A subvolume becomes read-only. */
  | { readonly do: "seal"; readonly path: string }
  /** The entry is moved into the quarantine. */
  | { readonly do: "aside"; readonly path: string }
  /** An entry of Docker's records, below `image/<driver>`, is moved into a quarantine there. */
  | { readonly do: "docker aside"; readonly path: string }
  /** The layer and all layers on it are moved into the quarantine. */
  | { readonly do: "lose"; readonly layer: string }
  /**
   * A new database of snapshots, made from the readable rows of the old one and the layers on disk.
   */
  | { readonly do: "rebuild" };

/** The mending of a damaged thing. */
export interface Mending {
  /** For users. */
  readonly remedy: string;
  /** The steps of `repair`, in this order; none if it cannot mend the thing. */
  readonly repair?: readonly Step[];
}

/** The mode of records in Docker's layouts. */
export const DOCKERS_RECORD = 0o644;

/** Gives a record another content. */
export function writeRecord(path: ConfinedPath, text: string, mode = 0o600): Mending {
  const lines = text.split("\n").join(", ");
  return {
    remedy: `make it a file of root's that holds ${lines === "" ? "nothing" : lines}`,
    repair: [{ do: "record", path: path.relative, text, mode }],
  };
}

/** Puts a directory in the place of the present entry. */
export function makeDirectory(path: ConfinedPath, mode: number, layer?: string): Mending {
  return {
    remedy: `remove what is there, and make the directory ${path}, mode ${octal(mode)}`,
    repair: [{ do: "directory", path: path.relative, mode, layer }],
  };
}

/** Puts a symbolic link in the place of the present entry. */
export function makeLink(path: ConfinedPath, target: string): Mending {
  return {
    remedy: `make ${path} a symbolic link to ${target}`,
    repair: [{ do: "link", path: path.relative, target }],
  };
}

/** Keeps a record's content, in a new file that no other process can have open. */
export function adoptRecord(path: ConfinedPath): Mending {
  return {
    remedy: `have it belong to root with mode 0600, after a look at its content`,
    repair: [{ do: "adopt", path: path.relative }],
  };
}

/** Takes the write permission for a directory from group and others. */
export function closeToOthers(path: ConfinedPath): Mending {
  return {
    remedy: `chmod go-w ${path}, after a look at what others may have changed`,
    repair: [{ do: "close", path: path.relative }],
  };
}

/** Makes the subvolume of a committed snapshot read-only. */
export function sealSubvolume(path: ConfinedPath): Mending {
  return {
    remedy: `btrfs property set -ts ${path} ro true`,
    repair: [{ do: "seal", path: path.relative }],
  };
}

/** Removes an entry that is not needed. */
export function removeEntry(path: ConfinedPath, remedy = `remove ${path}`): Mending {
  return { remedy, repair: [{ do: "aside", path: path.relative }] };
}

/** Removes an entry of Docker's records that is not needed, or harmful. */
export const removeDockers = (path: string, remedy: string): Mending => ({
  remedy,
  repair: [{ do: "docker aside", path }],
});

/** Gives up a layer, which cannot be mended from the present files. */
export const remakeLayer = (id: string): Mending => ({
  remedy: `remove layer ${id} and make it again, or bring the file back from a backup`,
  repair: [{ do: "lose", layer: id }],
});

/** Gives up a snapshot's layer, which cannot be mended. */
export const prepareAgain = (layer: string): Mending => ({
  remedy: "remove its snapshot and those on it, and prepare them again",
  repair: [{ do: "lose", layer }],
});

/** Makes the database of snapshots again. */
export const rebuildDatabase = (): Mending => ({
  remedy: "bring it back from a backup",
  repair: [{ do: "rebuild" }],
});

/** Whether a mending gives up a layer. */
export const isLoss = ({ repair = [] }: Mending): boolean =>
  repair.some((step) => step.do === "lose");

const octal = (mode: number) => mode.toString(8).padStart(4, "0");
