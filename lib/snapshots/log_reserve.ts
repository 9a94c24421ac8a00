/**
 * Room for a database's write-ahead log, reserved while the disk has some: a container can fill the
 * disk to its last byte, and removing a snapshot must still work then.
 *
 * ```text
 * metadata.db-wal       the log, while a process has the database open
 * metadata.db-reserve   another name of the same file
 * ```
 *
 * SQLite creates the log for the first opener and deletes it after the last. It finds this file
 * instead and overwrites it from the start, and deletes only one of the file's two names. So its
 * space is never freed. The file is written once, not only allocated, since overwriting written
 * data needs no space. On btrfs it would, so the database's files are never copied on write there.
 *
 * The content of a file that is not a log any more is in the database already. It must not be
 * replayed over later changes: the log's header is blanked, on disk, before the file becomes a log
 * again.
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

/** The suffixes of the log and of its reserve. */
export const LOG = "-wal", RESERVE = "-reserve";

/** In bytes: some forty removals by one process. */
const SIZE = 512 * 1024;

/** `WAL_HDRSIZE` of SQLite's wal.c. */
const HEADER = 32;

/**
 * Reserves space for a database's log, unless that is done. Does nothing on a full disk.
 *
 * The callers of this and of {@linkcode provideLog} exclude other openers of the database
 * meanwhile.
 */
export function takeRoom(database: ConfinedPath): void {
  tolerating(() => withFd(openReserve(database), () => {}));
}

/**
 * Gives a database a log with reserved space, unless it has one. On a full disk, or on a file
 * system without hard links, SQLite creates its own.
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

/** Whether there is a log that is not empty. */
export function hasLoggedSomething(database: ConfinedPath): boolean {
  const fd = tryOpen(database.withSuffix(LOG), O_RDONLY);
  if (fd < 0) return false;
  return withFd(fd, () => fstat(fd).size > HEADER && !hasBlankHeader(fd));
}

/** A precaution only: it may fail. */
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

/** Turns copy-on-write off for a file that is still empty, on file systems that have it. */
export function overwriteInPlace(fd: number): void {
  trySetInodeFlags(fd, inodeFlags(fd) | FS_NOCOW_FL);
}

/** All of it or nothing: the last free space may be needed for the database itself. */
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
