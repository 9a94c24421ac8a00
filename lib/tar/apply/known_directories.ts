/**
 * The directories that an apply has come across: which of them is which, and the times they are to
 * have in the end.
 *
 * A directory that the tar only passes through keeps its times, and so does one in which it makes
 * entries. A new directory may get the inode number of a removed one: records of entries by their
 * directory's number are not about the new one, so it gets another identity.
 *
 * @module
 */
import { DirectoryTimes, type Moments } from "./directory_times.ts";
import { EntrySet } from "./entry_set.ts";

const NO_NAME = Uint8Array.of(0);
/**
 * The bits that number further directories with the same inode number; inode numbers hardly reach
 * them.
 */
const GENERATION_SHIFT = 48n;

/** An open directory of the layer. */
export interface Directory {
  readonly fd: number;
  /** Its real path from the layer's root: no link lies on it. */
  readonly path: string;
  /**
   * With a name, it tells an entry from every other one: see {@linkcode KnownDirectories.identity}.
   */
  readonly identity: bigint;
  /** Whether it hands its group or an access list down to new entries. */
  readonly inherits: boolean;
  /** The last job of the worker that uses it; see `worker_jobs.ts`. */
  lastJob: number;
}

/** The directories that an apply has met. */
export class KnownDirectories {
  readonly times = new DirectoryTimes();
  readonly #met = new EntrySet();
  readonly #generations = new Map<bigint, bigint>();
  #generation = 0n;

  /** Takes note of one that is there; the first time, of its times. */
  meet(path: string, inode: bigint, moments: Moments): void {
    if (this.#met.has(inode, NO_NAME)) return;
    this.announce(path, inode, moments);
  }

  /** Takes note of one and the times that it is to have. */
  announce(path: string, inode: bigint, moments: Moments): void {
    this.#met.add(inode, NO_NAME);
    this.times.add(path, inode, moments);
  }

  /** Takes note of one that was just made, and the times that it is to have. */
  born(path: string, inode: bigint, moments: Moments): void {
    if (this.#met.has(inode, NO_NAME)) {
      this.#generations.set(inode, ++this.#generation << GENERATION_SHIFT);
    }
    this.announce(path, inode, moments);
  }

  /** An identity that no other directory of this apply has or had. */
  identity(inode: bigint): bigint {
    return inode ^ (this.#generations.get(inode) ?? 0n);
  }
}
