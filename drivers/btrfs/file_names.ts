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
import { entryName } from "../../ffi/entry_name.ts";
import { close, O_DIRECTORY, O_PATH, RESOLVE_INSIDE, tryOpenat2 } from "../../ffi/files.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { SendStreamError } from "./send_stream.ts";

/** The files of an open subvolume, looked up by any of their names. */
export class FileNames implements Disposable {
  readonly #stat = new Stat();
  /** The directory of the last file: usually the next one is in it, too. */
  #open: { readonly path: string; readonly fd: number } | undefined;
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
    const stat = this.#stat, at = path.lastIndexOf("/");
    const directory = this.#opened(path.slice(1, at));
    unwrap(tryStatat(directory, entryName(path.slice(at + 1)), stat), "statx", path);
    if (stat.isDirectory || stat.links < 2) return [];
    const given = this.#given.get(stat.inode);
    if (given === true || given === rewritten) return [];
    this.#given.set(stat.inode, rewritten);
    return Array.from(
      inodeNames(this.subvolume, stat.inode),
      ({ directory, name }) => `/${this.#pathOf(directory)}${name}`,
    );
  };

  /** An open directory; `""` is the root. No link is followed to it. */
  #opened(path: string): number {
    if (this.#open?.path === path) return this.#open.fd;
    this[Symbol.dispose]();
    const flags = O_PATH | O_DIRECTORY;
    const fd = unwrap(
      tryOpenat2(this.subvolume, path || ".", flags, RESOLVE_INSIDE),
      "openat2",
      path,
    );
    this.#open = { path, fd };
    return fd;
  }

  [Symbol.dispose](): void {
    if (this.#open !== undefined) close(this.#open.fd);
    this.#open = undefined;
  }

  #pathOf(directory: bigint): string {
    const known = this.#directories.get(directory);
    if (known !== undefined) return known;
    if (performance.now() > this.deadline) throw new SendStreamError("its names take too long");
    const path = directoryPath(this.subvolume, directory);
    this.#directories.set(directory, path);
    return path;
  }
}
