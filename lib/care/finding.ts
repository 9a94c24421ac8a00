/**
 * What a check finds: damage, one finding for each damaged thing.
 *
 * @module
 */
import type { Mending } from "./mending.ts";

/**
 * A damaged thing, as the code that looked at it reports it. The kind is `<thing>-<fault>`, such as
 * `link-empty`, and stable: scripts rely on it.
 */
export interface Found extends Mending {
  readonly kind: string;
  /** The layer that it belongs to: its id, or that of a snapshot's layer; none if it is no one's. */
  readonly layer?: string;
  /** The file, or directory, at fault. */
  readonly file: string;
  /** What is wrong with it: a clause whose subject is the file. */
  readonly what: string;
  /**
   * It is shown and does not count as damage: a healthy store may have it for a while, such as after a
   * power failure, and loses nothing if it goes.
   */
  readonly isNote?: boolean;
}

/** Takes what is found. */
export type Report = (found: Found) => void;

/** What stands on a damaged thing. */
export interface Broken {
  /** Ids of layers, the damaged one first; or keys and names of snapshots. */
  readonly layers: readonly string[];
  /** Docker's ids of containers, and ids of images. */
  readonly containers: readonly string[];
  readonly images: readonly string[];
}

/** Damage, and what it breaks. */
export interface Finding extends Found {
  readonly driver: string;
  readonly of: "layers" | "snapshots";
  readonly breaks: Broken;
}

/** A finding as an identity: the same thing seen twice. */
export const identityOf = ({ kind, file, what }: Found): string => `${kind}\0${file}\0${what}`;
