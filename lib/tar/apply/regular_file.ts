/**
 * Makes a regular file from the entry that a reader stands at: both threads of an apply use it.
 *
 * @module
 */
import {
  close,
  ftruncate,
  lseek,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  SEEK_SET,
  tryOpenat,
} from "../../../ffi/files.ts";
import type { Attributes } from "./attributes.ts";
import { cutShort, type TarReader } from "../read/reader.ts";
import { refused } from "./refused.ts";

const PERMISSIONS = 0o777;

/**
 * Makes the reader's entry in an open directory, with data and attributes. The thread's umask must
 * be 0.
 *
 * @param inherits see {@linkcode Attributes.finishFile}
 * @returns 0, or a negated error number if the file could not be made: nothing of it is there then
 * @throws {SyscallError} if writing or setting attributes fails
 * @throws {VeneerError} `invalid argument` if the data is cut short or the entry cannot be applied
 */
export function tryMakeRegular(
  dirfd: number,
  inherits: boolean,
  reader: TarReader,
  attributes: Attributes,
): number {
  const { entry } = reader;
  const uid = attributes.uid(entry), gid = attributes.gid(entry);
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  const fd = tryOpenat(dirfd, entry.name, flags, entry.mode & PERMISSIONS);
  if (fd < 0) return fd;
  try {
    if (entry.sparse !== undefined) writeParts(fd, reader);
    else if (entry.size > 0) copy(fd, entry.size, reader);
    attributes.finishFile(fd, entry, uid, gid, inherits);
  } catch (error) {
    throw refused(error, entry);
  } finally {
    close(fd);
  }
  return 0;
}

function copy(fd: number, count: number, { entry, window }: TarReader): void {
  const copied = window.copyTo(fd, count, entry);
  if (copied < count) throw cutShort(window.position, entry.text);
}

function writeParts(fd: number, reader: TarReader): void {
  const { entry } = reader;
  const { size, parts } = entry.sparse!;
  for (let i = 0; i < parts.length; i += 2) {
    if (parts[i + 1] === 0) continue;
    lseek(fd, BigInt(parts[i]), SEEK_SET);
    copy(fd, parts[i + 1], reader);
  }
  ftruncate(fd, BigInt(size), entry.text);
}
