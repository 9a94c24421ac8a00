/**
 * Orphans: files without a record, and records of things that do not exist.
 *
 * @module
 */

/** An orphan. */
export interface Orphan {
  /** Stable, for scripts: `short-link`, `own-record`, `docker-layer` … */
  readonly kind: string;
  /** The layer or snapshot that it would belong to, if known. */
  readonly layer?: string;
  readonly file: string;
  /** The reason why it is not needed: a clause whose subject is the file. */
  readonly what: string;
  /** The way to delete it: in place, by removing the layer, or not at all. */
  readonly deletion: "in place" | "layer" | "none";
  /** Advice about an orphan that is not deleted. */
  readonly remedy?: string;
}

/** An orphan with its size in bytes, and its age since its last change in seconds. */
export interface MeasuredOrphan extends Orphan {
  readonly driver: string;
  readonly of: "layers" | "snapshots";
  readonly bytes: number;
  readonly age: number;
}
