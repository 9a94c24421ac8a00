/**
 * The names of files that have several.
 *
 * A command of the send stream is about one of a file's names, and the change about all. One file
 * may have 65,000 of them, each in a deep directory, whose path the kernel looks up name by name:
 * so this counts towards the stream's time.
 *
 * @module
 */
import { directoryPath, inodeNames } from "../../ffi/btrfs_search.ts";
import { Stat, tryStatBelow } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { SendStreamError } from "./send_stream.ts";

/** Files of an open subvolume, by any of their names. */
export class FileNames {
  readonly #stat = new Stat();
  /** The inodes whose names were returned, and whether for a rewritten one. */
  readonly #given = new Map<bigint, boolean>();
  readonly #directories = new Map<bigint, string>();

  /** @param deadline in milliseconds, as `performance.now()` counts them */
  constructor(readonly subvolume: number, readonly deadline: number) {}

  /**
   * All names of a file that has several; none of any other entry, nor if they were given before:
   * see `NamesOf` of `replayed_tree.ts`.
   *
   * @throws {SendStreamError} if it takes too long
   */
  readonly of = (path: string, rewritten: boolean): string[] => {
    const stat = this.#stat;
    unwrap(tryStatBelow(this.subvolume, path.slice(1), stat), "statx", path);
    if (stat.isDirectory || stat.links < 2) return [];
    const given = this.#given.get(stat.inode);
    if (given === true || given === rewritten) return [];
    this.#given.set(stat.inode, rewritten);
    return Array.from(
      inodeNames(this.subvolume, stat.inode),
      ({ directory, name }) => `/${this.#pathOf(directory)}${name}`,
    );
  };

  #pathOf(directory: bigint): string {
    const known = this.#directories.get(directory);
    if (known !== undefined) return known;
    if (performance.now() > this.deadline) throw new SendStreamError("its names take too long");
    const path = directoryPath(this.subvolume, directory);
    this.#directories.set(directory, path);
    return path;
  }
}
