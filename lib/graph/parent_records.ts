/**
 * A driver's records of parents, for {@linkcode Children}, which looks for the children of a layer.
 *
 * @module
 */
import type { ConfinedPath } from "../tree/confined.ts";
import type { Home } from "../store/home.ts";

/**
 * A driver's records of parents, one a layer. A parent is given by a *name*: its id, or another
 * text by which records refer to it, of at most 257 bytes without spaces and newlines.
 */
export interface ParentRecords {
  /**
   * The directory that has a name for every layer, or for every one with a record; other names do
   * not matter.
   */
  readonly layers: ConfinedPath;
  /** The directory that the paths of records begin in. */
  readonly directory: ConfinedPath;

  /** The path of a layer's record in that directory, if it has one. */
  path(id: string): string;

  /**
   * The parents that a record names; empty for a base layer and for an invalid record.
   *
   * @param start its first bytes, 512 of a longer record
   * @param isWhole whether these are all of its bytes
   * @returns `undefined` if the start is not enough
   */
  parents(start: string, isWhole: boolean): readonly string[] | undefined;

  /** All names of a layer in records. */
  names(id: string): readonly string[];

  /**
   * The origin of a layer without a record: a name, `""` for none, `undefined` if it cannot be
   * read. It never changes as long as the layer's directory has the same inode number. Left out by
   * drivers that cannot tell.
   */
  origin?(id: string): string | undefined;
}

/**
 * The records that Veneer itself keeps, for layouts that have no place for them:
 * `Home.recordParent`.
 */
export function ownParentRecords(home: Home): ParentRecords {
  return {
    layers: home.parents,
    directory: home.parents,
    path: (id) => id,
    parents: (start) => [/^[^\n]*/.exec(start)![0]].filter(isName),
    names: (id) => [id],
  };
}

/** Whether a text can be a name; the text of a damaged record may not be one. */
export const isName = (text: string): boolean => /^[A-Za-z0-9_./:-]{1,257}$/.test(text);
