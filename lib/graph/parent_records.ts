/**
 * Where the layers of a driver record what they stand on, for {@linkcode Children}, which looks for the layers on
 * top of another.
 *
 * @module
 */
import type { ConfinedPath } from "../tree/confined.ts";
import type { Home } from "../store/home.ts";

/**
 * A driver's records of parents, one a layer. A parent is told by a *name*: its id, or another text by which records
 * name it, of at most 257 bytes without spaces and newlines.
 */
export interface ParentRecords {
  /** The directory that has a name for every layer, or for every one with a record; other names do not matter. */
  readonly layers: ConfinedPath;
  /** The directory that the paths of records begin in. */
  readonly directory: ConfinedPath;

  /** Where in that directory a layer's record is, if it has one. */
  path(id: string): string;

  /**
   * What a record names as the parent; nothing for a base layer, and for what is no record.
   *
   * @param start its first bytes, 512 if it has so many
   * @param isWhole whether there are no more
   * @returns `undefined` if its start does not tell
   */
  parents(start: string, isWhole: boolean): readonly string[] | undefined;

  /** All names of a layer in records. */
  names(id: string): readonly string[];

  /**
   * What a layer without a record was made from: a name, `""` for nothing, `undefined` if it cannot be read. It never
   * changes as long as the layer's directory has the same inode number. Left out if nothing tells.
   */
  origin?(id: string): string | undefined;
}

/** The records that Veneer itself keeps, for layouts that have no place for them: `Home.recordParent`. */
export function ownParentRecords(home: Home): ParentRecords {
  return {
    layers: home.parents,
    directory: home.parents,
    path: (id) => id,
    parents: (start) => [/^[^\n]*/.exec(start)![0]].filter(isName),
    names: (id) => [id],
  };
}

/** Whether a text can be a name; what a damaged record holds is none. */
export const isName = (text: string): boolean => /^[A-Za-z0-9_./:-]{1,257}$/.test(text);
