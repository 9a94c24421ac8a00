/**
 * Writing a tree of files to disk, and as little else of its file system as possible.
 *
 * `syncfs(2)` is quick for a tree by itself, but it also writes out the recent writes of all other
 * programs on the file system. `fsync(2)` of each file waits for the disk's cache as often as there
 * are files. So the data of all files is begun to be written, and then waited for; names and
 * attributes are in the file system's journal, which one `fsync` of a new file writes out as far as
 * it goes: ext4's and xfs's hold all changes in their order, and empty the disk's cache. On other
 * file systems it is `syncfs`.
 *
 * @module
 */
import { DT_DIR, DT_REG, DT_UNKNOWN, type Entry, readSomeEntries } from "../../ffi/directory.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import {
  beginWriteBack,
  close,
  fsync,
  O_RDWR,
  O_TMPFILE,
  storeData,
  syncfs,
  tryReopen,
  withFd,
} from "../../ffi/files.ts";
import { tryOpenToRead } from "../../ffi/quiet_open.ts";
import { fstat, Stat, tryStatat } from "../../ffi/stat.ts";
import { EXT_MAGIC, fstatfs, XFS_MAGIC } from "../../ffi/statfs.ts";
import { readSystemFile } from "../base/system_files.ts";
import { DirectoryStack } from "./directory_stack.ts";
import { isGone } from "./gone.ts";

/**
 * Writes all that is below a directory to disk, and every name that leads to it. Changes that
 * others make meanwhile may be on disk or not.
 *
 * @param directory a descriptor of it, the caller's
 * @param home a directory of the same store, which no limit of space keeps from taking a new file
 * @throws {SyscallError} if something could not be written
 */
export function storeTree(directory: number, home: number): void {
  if (!isJournalInOrder(directory, home)) return syncfs(directory);
  eachFile(directory, beginWriteBack);
  eachFile(directory, storeData);
  storeJournal(home);
}

const stat = new Stat();

/** Whether an `fsync` of any file has all earlier changes of a tree's names written before it. */
function isJournalInOrder(directory: number, home: number): boolean {
  const deviceOf = (fd: number) => {
    fstat(fd, stat);
    return `${stat.devMajor}:${stat.devMinor}`;
  };
  const device = deviceOf(directory);
  if (deviceOf(home) !== device) return false;
  const { type } = fstatfs(directory);
  return type === XFS_MAGIC || type === EXT_MAGIC && hasJournal(device);
}

/** Whether an ext file system has a journal; false if this kernel does not tell. */
function hasJournal(device: string): boolean {
  const name = /^DEVNAME=(.*)$/m.exec(readSystemFile(`/sys/dev/block/${device}/uevent`) ?? "")?.[1];
  const task = name && readSystemFile(`/sys/fs/ext4/${name.replaceAll("/", "!")}/journal_task`);
  return task !== undefined && /^\d+$/.test(task);
}

/** Writes out a file system's journal, up to now. */
function storeJournal(directory: number): void {
  const fd = tryReopen(directory, O_RDWR | O_TMPFILE, 0o600);
  if (fd < 0) return syncfs(directory); // No new file can be made here, as on a full disk.
  withFd(fd, (fd) => fsync(fd));
}

/** Calls `use` with each regular file below a directory, opened for reading. */
function eachFile(root: number, use: (fd: number) => void): void {
  using directories = new DirectoryStack(root);
  const levels = [list(directories.fd, use)];
  for (let names; (names = levels.at(-1));) {
    const name = names.pop();
    if (name === undefined) {
      levels.pop();
      if (levels.length > 0) directories.leave();
    } else if (!isGone(directories.tryEnter(name), "open", name)) {
      levels.push(list(directories.fd, use));
    }
  }
}

/** Calls `use` with the files in a directory; returns the names of its subdirectories. */
function list(directory: number, use: (fd: number) => void): EntryName[] {
  const subdirectories: EntryName[] = [];
  for (let some; (some = readSomeEntries(directory)).length > 0;) {
    for (const entry of some) {
      const type = typeOf(directory, entry);
      if (type === DT_DIR) subdirectories.push(entry.name);
      if (type !== DT_REG) continue;
      const fd = tryOpenToRead(directory, entry.name);
      if (isGone(fd, "open", entry.name)) continue;
      try {
        use(fd);
      } finally {
        close(fd);
      }
    }
  }
  return subdirectories;
}

/** The type of an entry, also on a file system that does not have it in the directory. */
function typeOf(directory: number, { name, type }: Entry): number {
  if (type !== DT_UNKNOWN) return type;
  if (isGone(tryStatat(directory, name, stat), "statx", name)) return DT_UNKNOWN;
  return stat.isDirectory ? DT_DIR : stat.isFile ? DT_REG : DT_UNKNOWN;
}
