/**
 * All names of files with several names.
 *
 * A command of the send stream mentions one name of a file, but the change concerns all of them. A
 * file may have 65,000 names, each in a deep directory whose path the kernel looks up name by name.
 * So the lookup counts towards the stream's time.
 *
 * @module
 */
import { directoryPath, inodeNames } from "../../ffi/btrfs_search.ts";
import { Stat, tryStatBelow } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { SendStreamError } from "./send_stream.ts";

/** The files of an open subvolume, looked up by any of their names. */
export class FileNames {
  readonly #stat = new Stat();
  /** The inodes whose names were returned, each with the `rewritten` of that call. */
  readonly #given = new Map<bigint, boolean>();
  readonly #directories = new Map<bigint, string>();

  /** @param deadline in milliseconds, on the clock of `performance.now()` */
  constructor(readonly subvolume: number, readonly deadline: number) {}

  /**
   * All names of a file that has several names. Empty for any other entry, and if the names were
   * returned before: see `NamesOf` of `replayed_tree.ts`.
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
