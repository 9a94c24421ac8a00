/**
 * What mends damage: in words for users, and as the steps that `repair` takes. Each function here
 * makes both, so that they cannot differ.
 *
 * @module
 */
import type { ConfinedPath } from "../tree/confined.ts";

/**
 * A change of a store's files, of which a killed process leaves the old or the new state. Paths are
 * below the home. Whatever stood there before is kept in the quarantine.
 */
export type Step =
  /** A file of root's with this text. */
  | { readonly do: "record"; readonly path: string; readonly text: string; readonly mode: number }
  /** An empty directory; with `layer`, of the root of that layer's id maps. */
  | {
    readonly do: "directory";
    readonly path: string;
    readonly mode: number;
    readonly layer?: string;
  }
  /** A symbolic link. */
  | { readonly do: "link"; readonly path: string; readonly target: string }
  /** A copy of the file that is root's alone. */
  | { readonly do: "adopt"; readonly path: string }
  /** Writing is taken from group and others. */
  | { readonly do: "close"; readonly path: string }
  /** Moved into the quarantine. */
  | { readonly do: "aside"; readonly path: string }
  /** An entry of Docker's records, below `image/<driver>`, moved into a quarantine there. */
  | { readonly do: "docker aside"; readonly path: string }
  /** The layer and all on it moved into the quarantine. */
  | { readonly do: "lose"; readonly layer: string }
  /** A new database of snapshots with what can be read of the old one and of the layers on disk. */
  | { readonly do: "rebuild" };

/** What mends a damaged thing. */
export interface Mending {
  /** For users. */
  readonly remedy: string;
  /** For `repair`, in this order; none if nothing here can mend it. */
  readonly repair?: readonly Step[];
}

/** The mode of records in Docker's layouts. */
export const DOCKERS_RECORD = 0o644;

/** A record gets another content. */
export function writeRecord(path: ConfinedPath, text: string, mode = 0o600): Mending {
  const lines = text.split("\n").join(", ");
  return {
    remedy: `make it a file of root's that holds ${lines === "" ? "nothing" : lines}`,
    repair: [{ do: "record", path: path.relative, text, mode }],
  };
}

/** A directory takes the place of what is there. */
export function makeDirectory(path: ConfinedPath, mode: number, layer?: string): Mending {
  return {
    remedy: `remove what is there, and make the directory ${path}, mode ${octal(mode)}`,
    repair: [{ do: "directory", path: path.relative, mode, layer }],
  };
}

/** A symbolic link takes the place of what is there. */
export function makeLink(path: ConfinedPath, target: string): Mending {
  return {
    remedy: `make ${path} a symbolic link to ${target}`,
    repair: [{ do: "link", path: path.relative, target }],
  };
}

/** A record's content stays, in a file that nobody else can have open. */
export function adoptRecord(path: ConfinedPath): Mending {
  return {
    remedy: `have it belong to root with mode 0600, after a look at its content`,
    repair: [{ do: "adopt", path: path.relative }],
  };
}

/** A directory is closed to others. */
export function closeToOthers(path: ConfinedPath): Mending {
  return {
    remedy: `chmod go-w ${path}, after a look at what others may have changed`,
    repair: [{ do: "close", path: path.relative }],
  };
}

/** What is there is not needed. */
export function removeEntry(path: ConfinedPath, remedy = `remove ${path}`): Mending {
  return { remedy, repair: [{ do: "aside", path: path.relative }] };
}

/** An entry of Docker's is not needed, or harms. */
export const removeDockers = (path: string, remedy: string): Mending => ({
  remedy,
  repair: [{ do: "docker aside", path }],
});

/** A layer cannot be mended from what is there. */
export const remakeLayer = (id: string): Mending => ({
  remedy: `remove layer ${id} and make it again, or bring the file back from a backup`,
  repair: [{ do: "lose", layer: id }],
});

/** A snapshot's layer cannot be mended. */
export const prepareAgain = (layer: string): Mending => ({
  remedy: "remove its snapshot and those on it, and prepare them again",
  repair: [{ do: "lose", layer }],
});

/** The records of snapshots are made again. */
export const rebuildDatabase = (): Mending => ({
  remedy: "bring it back from a backup",
  repair: [{ do: "rebuild" }],
});

/** Whether a mending costs a layer. */
export const isLoss = ({ repair = [] }: Mending): boolean =>
  repair.some((step) => step.do === "lose");

const octal = (mode: number) => mode.toString(8).padStart(4, "0");
