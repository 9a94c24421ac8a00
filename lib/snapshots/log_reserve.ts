/**
 * Room for a database's write-ahead log, taken while there is some: a container can fill the disk to its last byte,
 * and a snapshot must be removed then, to make room.
 *
 * ```text
 * metadata.db-wal       the log, while a process has the database open
 * metadata.db-reserve   another name of the same file
 * ```
 *
 * SQLite makes the log anew for each first opener, and deletes it after the last. It finds this file instead, which
 * it overwrites from the start, and the name that it deletes is not the file's only one. So the room is never
 * given back for others to take. It is written once, not only allocated: no file system needs room to overwrite
 * that, but btrfs, where the database's files are therefore never copied on write.
 *
 * What is in the file when it is no log any more was written into the database. It must not be read a second time,
 * over what came later: the log's header is blanked, on disk, before the file becomes a log again.
 *
 * @module
 */
import { entryName } from "../../ffi/entry_name.ts";
import { EEXIST, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  fsync,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  pread,
  pwriteAll,
  tryFallocate,
  withFd,
} from "../../ffi/files.ts";
import { FS_NOCOW_FL, inodeFlags, trySetInodeFlags } from "../../ffi/inode_flags.ts";
import { fstat } from "../../ffi/stat.ts";
import { tryLinkat } from "../../ffi/names.ts";
import {
  type ConfinedPath,
  exists,
  inParent,
  open,
  tryOpen,
  unwrapConfined,
} from "../tree/confined.ts";

/** How the names of the log and of its reserve end. */
export const LOG = "-wal", RESERVE = "-reserve";

/** In bytes: some forty removals by one process. */
const SIZE = 512 * 1024;

/** `WAL_HDRSIZE` of SQLite's wal.c. */
const HEADER = 32;

/**
 * Takes the room for a database's log, if that is not done yet. Without room on the disk there is none.
 *
 * The caller of this and of {@linkcode provideLog} sees to it that nobody else opens the database meanwhile.
 */
export function takeRoom(database: ConfinedPath): void {
  tolerating(() => withFd(openReserve(database), () => {}));
}

/**
 * Gives a database a log with room in it, unless it has one. Without room on the disk, or if the
 * file system has no second names, SQLite makes its own.
 */
export function provideLog(database: ConfinedPath): void {
  const log = database.withSuffix(LOG), reserve = database.withSuffix(RESERVE);
  if (exists(log)) return;
  tolerating(() => {
    withFd(openReserve(database), (fd) => blankHeader(fd, reserve.text));
    inParent(log, (directory, name) => {
      const result = tryLinkat(directory, entryName(reserve.name), directory, name);
      if (result !== -EEXIST) unwrapConfined(result, "link", log);
    });
  });
}

/** Whether there is a log with something in it. */
export function hasLoggedSomething(database: ConfinedPath): boolean {
  const fd = tryOpen(database.withSuffix(LOG), O_RDONLY);
  if (fd < 0) return false;
  return withFd(fd, () => fstat(fd).size > HEADER && !hasBlankHeader(fd));
}

/** What is only a precaution may fail. */
function tolerating(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
  }
}

function openReserve(database: ConfinedPath): number {
  const reserve = database.withSuffix(RESERVE);
  const fd = open(reserve, O_RDWR | O_CREAT, 0o600);
  try {
    if (fstat(fd).size < SIZE) fill(fd, reserve.text);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Has a file that is empty yet be written in its place on file systems that copy on write. */
export function overwriteInPlace(fd: number): void {
  trySetInodeFlags(fd, inodeFlags(fd) | FS_NOCOW_FL);
}

/**
 * If there is no room for all of it, for none: what there is may be needed for the database itself.
 */
function fill(fd: number, path: string): void {
  overwriteInPlace(fd);
  const result = tryFallocate(fd, 0, 0n, BigInt(SIZE));
  if (result < 0) throw new SyscallError("fallocate", -result, path);
  pwriteAll(fd, new Uint8Array(SIZE), 0n);
  fsync(fd, path);
}

function blankHeader(fd: number, path: string): void {
  if (hasBlankHeader(fd)) return;
  pwriteAll(fd, new Uint8Array(HEADER), 0n);
  fsync(fd, path);
}

function hasBlankHeader(fd: number): boolean {
  const header = new Uint8Array(HEADER);
  pread(fd, header, HEADER, 0n);
  return header.every((byte) => byte === 0);
}
