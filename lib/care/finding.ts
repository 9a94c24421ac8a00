/**
 * The results of a check: damage, one finding for each damaged thing.
 *
 * @module
 */
import type { Mending } from "./mending.ts";

/**
 * A damaged thing, as the code that checks it reports it. The kind is `<thing>-<fault>`, such as
 * `link-empty`, and is stable, because scripts rely on it.
 */
export interface Found extends Mending {
  readonly kind: string;
  /** The id of the layer, or of a snapshot's layer, that it belongs to, if any. */
  readonly layer?: string;
  /** The damaged file or directory. */
  readonly file: string;
  /** The fault: a clause whose subject is the file. */
  readonly what: string;
  /**
   * It is shown, but does not count as damage: a healthy store may have it for a while, such as
   * after a power failure, and its removal loses nothing.
   */
  readonly isNote?: boolean;
}

/** Receives the findings. */
export type Report = (found: Found) => void;

/** The users of a damaged thing. */
export interface Broken {
  /** Ids of layers, or keys and names of snapshots; the damaged one comes first. */
  readonly layers: readonly string[];
  /** Docker's ids of containers. */
  readonly containers: readonly string[];
  readonly images: readonly string[];
}

/** Damage, and its users. */
export interface Finding extends Found {
  readonly driver: string;
  readonly of: "layers" | "snapshots";
  readonly breaks: Broken;
}

/** A string that is equal for the same finding of two passes. */
export const identityOf = ({ kind, file, what }: Found): string => `${kind}\0${file}\0${what}`;
