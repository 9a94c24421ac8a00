/**
 * What a tree of files takes on disk.
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
 * The space that all below a directory takes, holes not, and how many inodes it has. An inode of several
 * names is counted once; the directory itself, which is there without any content, is not. What comes or
 * goes meanwhile may be counted or not.
 *
 * @param directory a descriptor of it, the caller's, at its start
 * @param leavesOut tells entries by name that do not count, nor what is below them
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
  /** The inodes seen that have more names. */
  readonly #shared = new Set<bigint>();

  constructor(
    readonly directories: DirectoryStack,
    readonly leavesOut: ((name: string) => boolean) | undefined,
  ) {}

  /** Counts what lies below the directory that the walk stands in. */
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

  /** Counts what the directory has that the walk stands in; returns the subdirectories. */
  #list(): EntryName[] {
    const subdirectories: EntryName[] = [];
    for (let some; (some = readSomeEntries(this.directories.fd)).length > 0;) {
      for (const { name } of some) if (this.#entry(name)) subdirectories.push(name);
    }
    return subdirectories;
  }

  /** Counts an entry; whether it is a directory to go into. */
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
