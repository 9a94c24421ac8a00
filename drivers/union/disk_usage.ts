/**
 * The disk usage of a tree of files.
 *
 * @module
 */
import { readSomeEntries } from "../../ffi/directory.ts";
import { type EntryName, nameText } from "../../ffi/entry_name.ts";
import { S_BLKSIZE, Stat, tryStatat } from "../../ffi/stat.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import { isGone } from "../../lib/tree/gone.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";

/**
 * The disk space of all entries below a directory, without holes, and the number of their inodes.
 * An inode with several names is counted once. The directory itself is not counted, because an
 * empty layer has it as well. Entries created or removed during the count may be included or not.
 *
 * @param directory a descriptor of it, at its start; the caller closes it
 * @param leavesOut returns true for names of entries to skip with everything below them
 * @throws {SyscallError}
 */
export function diskUsage(directory: number, leavesOut?: (name: string) => boolean): Usage {
  using directories = new DirectoryStack(directory);
  const count = new Count(directories, leavesOut);
  count.below();
  return { bytes: count.blocks * S_BLKSIZE, inodes: count.inodes };
}

class Count {
  blocks = 0;
  inodes = 0;
  readonly #stat = new Stat();
  /** The counted inodes that have several names. */
  readonly #shared = new Set<bigint>();

  constructor(
    readonly directories: DirectoryStack,
    readonly leavesOut: ((name: string) => boolean) | undefined,
  ) {}

  /** Counts all entries below the walk's directory. */
  below(): void {
    const levels = [this.#list()];
    for (let names; (names = levels.at(-1));) {
      const name = names.pop();
      if (name === undefined) {
        levels.pop();
        if (levels.length > 0) this.directories.leave();
      } else if (!isGone(this.directories.tryEnter(name), "open", name)) {
        levels.push(this.#list());
      }
    }
  }

  /** Counts the entries of the walk's directory; returns the subdirectories. */
  #list(): EntryName[] {
    const subdirectories: EntryName[] = [];
    for (let some; (some = readSomeEntries(this.directories.fd)).length > 0;) {
      for (const { name } of some) if (this.#entry(name)) subdirectories.push(name);
    }
    return subdirectories;
  }

  /** Counts an entry; returns whether it is a directory to enter. */
  #entry(name: EntryName): boolean {
    if (this.leavesOut?.(nameText(name))) return false;
    const stat = this.#stat;
    if (isGone(tryStatat(this.directories.fd, name, stat), "statx", name)) return false;
    if (!stat.isDirectory && stat.links > 1) {
      if (this.#shared.has(stat.inode)) return false;
      this.#shared.add(stat.inode);
    }
    this.blocks += stat.blocks;
    this.inodes++;
    return stat.isDirectory;
  }
}
