/**
 * The directories that an apply has come across: which of them is which, and the times they are to
 * have in the end.
 *
 * A directory that the tar only passes through keeps its times, and so does one that it makes
 * something in. One that is made anew may have got the inode number of another one that is gone:
 * what is kept in mind of entries by their directory's number is not about the new one, so it goes
 * by another identity.
 *
 * @module
 */
import { DirectoryTimes, type Moments } from "./directory_times.ts";
import { EntrySet } from "./entry_set.ts";

const NO_NAME = Uint8Array.of(0);
/**
 * Where the number of a further directory with the same inode number goes: inode numbers hardly get
 * there.
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
  /** Whether it hands its group or an access list down to what is made in it. */
  readonly inherits: boolean;
  /** The last job of the worker that uses it; see `worker_jobs.ts`. */
  lastJob: number;
}

/** What an apply knows of directories. */
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

  /** What tells a directory from all others of this apply, also from those that are gone. */
  identity(inode: bigint): bigint {
    return inode ^ (this.#generations.get(inode) ?? 0n);
  }
}
