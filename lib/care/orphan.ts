/**
 * Orphans: things on disk that no record knows, and records of things that are not there.
 *
 * @module
 */

/** An orphan. */
export interface Orphan {
  /** Stable, for scripts: `short-link`, `own-record`, `docker-layer` … */
  readonly kind: string;
  /** The layer or snapshot that it would be of, if something says. */
  readonly layer?: string;
  readonly file: string;
  /** Why nothing needs it: a clause whose subject is the file. */
  readonly what: string;
  /** How it is deleted: in place, by removing the layer, or not at all. */
  readonly deletion: "in place" | "layer" | "none";
  /** What to do about one that is not deleted. */
  readonly remedy?: string;
}

/** An orphan with its size in bytes, and its age since its last change in seconds. */
export interface MeasuredOrphan extends Orphan {
  readonly driver: string;
  readonly of: "layers" | "snapshots";
  readonly bytes: number;
  readonly age: number;
}
