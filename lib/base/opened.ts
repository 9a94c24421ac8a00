/**
 * The part of the contract that stores of layers and stores of snapshots share.
 *
 * @module
 */
import { VeneerError } from "./errors.ts";
import type { StatusLine } from "./status.ts";

/** An open store of one driver. */
export interface OpenStore extends Disposable {
  /** The driver's name, such as `"overlay2"`. */
  readonly name: string;
  /** Its absolute path: `<root>/<name>` for layers, `<root>/snapshots/<name>` for snapshots. */
  readonly home: string;

  /** The driver's state and settings, such as the file system below the store. */
  status(): readonly StatusLine[];

  /**
   * Closes the store, and releases what this process holds to work on it; mounts stay. Any other
   * operation then throws `failed precondition`. Closing it again does nothing. Disposing of a
   * store closes it.
   */
  close(): void;
}

/**
 * The treatment of mounts of a store that are not Veneer's: operations that they obstruct are
 * refused (`"refuse"`), or the mounts are ignored (`"ignore"`), for a service that has the store to
 * itself.
 */
export type ForeignUses = "refuse" | "ignore";

/** The error of an operation on a store that was closed. */
export function storeClosed(home: string): VeneerError {
  return new VeneerError(
    "failed precondition",
    `the store at ${home} was closed; open it again`,
  );
}
