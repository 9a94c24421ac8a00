/**
 * Reserves disk space for a database's write-ahead log: a container can fill the disk to its last
 * byte, and then removing a snapshot must still work.
 *
 * ```text
 * metadata.db-wal       the log, while a process has the database open
 * metadata.db-reserve   another name of the same file
 * ```
 *
 * SQLite would create the log for the first opener and delete it after the last one. Instead it
 * finds this file, overwrites it from the start, and later deletes only one of its two names, so
 * the space is never freed. The file is not only allocated but written once, because overwriting
 * written data needs no space. On btrfs it would need space, so copy-on-write is turned off for the
 * database's files.
 *
 * The content of a file that is no longer a log is already in the database, and must not be
 * replayed over later changes. So the log's header is blanked, on disk, before the file becomes a
 * log again.
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

/** The suffixes of the log and of its second name. */
export const LOG = "-wal", RESERVE = "-reserve";

/** The size in bytes: enough for about forty removals by one process. */
const SIZE = 512 * 1024;

/** `WAL_HDRSIZE` of SQLite's wal.c. */
const HEADER = 32;

/**
 * Reserves space for a database's log, unless it is already reserved. Does nothing on a full disk.
 *
 * The callers of this and of {@linkcode provideLog} exclude other openers of the database
 * meanwhile.
 */
export function takeRoom(database: ConfinedPath): void {
  tolerating(() => withFd(openReserve(database), () => {}));
}

/**
 * Gives a database a log with reserved space, unless it has a log. On a full disk, or on a file
 * system without hard links, SQLite creates the log itself.
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

/** Whether there is a log with content. */
export function hasLoggedSomething(database: ConfinedPath): boolean {
  const fd = tryOpen(database.withSuffix(LOG), O_RDONLY);
  if (fd < 0) return false;
  return withFd(fd, () => fstat(fd).size > HEADER && !hasBlankHeader(fd));
}

/** Runs a precaution, which may fail. */
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

/** Turns copy-on-write off for a file that is still empty, if the file system has it. */
export function overwriteInPlace(fd: number): void {
  trySetInodeFlags(fd, inodeFlags(fd) | FS_NOCOW_FL);
}

/** Writes the whole file or nothing: the last free space may be needed for the database itself. */
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
