/**
 * A file that appears when it is complete: what fails or is killed midway leaves nothing, and what was there
 * before stays.
 *
 * The content is written to a file without a name, in the directory of its place, and gets the name last.
 * Where another file has that name, a name of our own comes between; what a kill leaves under one is removed
 * by the next writer there. A file system without such files has the name of our own from the start.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { readNames } from "../../ffi/directory.ts";
import { type EntryName, entryName, nameText } from "../../ffi/entry_name.ts";
import { EEXIST, ENOENT } from "../../ffi/errno.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_RDONLY,
  O_TMPFILE,
  O_WRONLY,
  open,
  openat,
  reopen,
  tryOpenat,
  tryReopen,
  withFd,
} from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { fstat, Stat, tryStatat } from "../../ffi/stat.ts";
import { readlinkat, renameat, tryLinkFile, tryUnlinkat } from "../../ffi/tree.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../errors.ts";

/** A layer may hold what only root may read. */
const MODE = 0o600;
/** As many links as the kernel follows in one path (path_resolution(7)). */
const MOST_LINKS = 40;
/** The sticky bit, and write permission of all: `linux/stat.h`. */
const S_ISVTX = 0o1000, S_IWOTH = 0o002;

/** A name of our own; only these are ever swept. */
const TEMPORARY = /^\.veneer-[0-9a-f-]{36}\.new$/;
const newTemporary = () => entryName(`.veneer-${crypto.randomUUID()}.new`);

/**
 * Runs `write` on a descriptor whose content becomes `file`.
 *
 * A device, pipe or socket is written to as it is: nothing could take its place. A symbolic link is followed,
 * unless it is another user's in a directory that everybody can write to.
 *
 * @throws {VeneerError} `invalid argument` for a directory and for such a link, and what `write` throws
 */
export function writeOutputFile<T>(file: string, write: (fd: number) => T): T {
  const place = placeOf(file);
  try {
    const found = new Stat();
    const result = tryStatat(place.directory, place.name, found);
    if (result !== -ENOENT) {
      unwrap(result, "statx", file);
      if (found.isDirectory) throw invalid(file, "is a directory; name a file");
      if (!found.isFile) return writeInPlace(file, place, write);
    }
    sweep(place.directory);
    return writeNew(place, write);
  } finally {
    close(place.directory);
  }
}

/** A name in an open directory, which is not a symbolic link. */
export interface Place {
  readonly directory: number;
  readonly name: EntryName;
}

/** Where a path leads, its last links followed one by one. The caller closes the directory. */
function placeOf(file: string): Place {
  let path = file;
  for (let links = 0; links <= MOST_LINKS; links++) {
    const last = basename(path);
    if (/\/\.?\.?$|^\.{0,2}$/.test(path)) throw invalid(file, "is a directory; name a file");
    const directory = open(dirname(path), O_RDONLY | O_DIRECTORY);
    const name = entryName(last);
    const found = new Stat();
    if (tryStatat(directory, name, found) < 0 || !found.isSymlink) return { directory, name };
    try {
      checkOwner(path, directory, found);
      const target = readlinkat(directory, name);
      path = target.startsWith("/") ? target : join(dirname(path), target);
    } finally {
      close(directory);
    }
  }
  throw invalid(file, "leads through too many symbolic links");
}

/**
 * The rule of the kernel's `fs.protected_symlinks` and `fs.protected_fifos` (proc_sys_fs(5)), which it applies
 * where it follows a link or opens a pipe itself.
 */
function checkOwner(path: string, directory: number, found: Stat): void {
  const above = fstat(directory);
  const isShared = (above.mode & S_ISVTX) !== 0 && (above.mode & S_IWOTH) !== 0;
  if (!isShared || found.uid === Deno.uid() || found.uid === above.uid) return;
  const kind = found.isSymlink ? "symbolic link" : "special file";
  throw invalid(
    path,
    `is a ${kind} of user ${found.uid} in a directory that everybody can write to; name another file`,
  );
}

function writeInPlace<T>(file: string, { directory, name }: Place, write: (fd: number) => T): T {
  return withFd(openat(directory, name, O_WRONLY), (fd) => {
    const opened = fstat(fd);
    if (opened.isFile) throw invalid(file, "was replaced while it was opened");
    checkOwner(file, directory, opened);
    return write(fd);
  });
}

function writeNew<T>({ directory, name }: Place, write: (fd: number) => T): T {
  const fd = tryReopen(directory, O_TMPFILE | O_WRONLY, MODE);
  if (fd < 0) return writeNamed({ directory, name }, write);
  return withFd(fd, () => {
    // Held until the name is there: a sweep takes what nobody holds.
    tryLock(fd, "exclusive");
    const result = write(fd);
    const linked = tryLinkFile(fd, directory, name);
    if (linked !== -EEXIST) unwrap(linked, "linkat", name);
    else replace(directory, name, (temporary) => tryLinkFile(fd, directory, temporary));
    return result;
  });
}

/** The same on a file system that has no files without a name. */
export function writeNamed<T>({ directory, name }: Place, write: (fd: number) => T): T {
  const temporary = newTemporary();
  const fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL, MODE);
  return withFd(fd, () => {
    try {
      tryLock(fd, "exclusive");
      const result = write(fd);
      renameat(directory, temporary, directory, name);
      return result;
    } catch (error) {
      tryUnlinkat(directory, temporary);
      throw error;
    }
  });
}

/** Puts a file that gets a name of our own first in the place of another one. */
function replace(directory: number, name: EntryName, link: (temporary: EntryName) => number): void {
  const temporary = newTemporary();
  unwrap(link(temporary), "linkat", temporary);
  try {
    renameat(directory, temporary, directory, name);
  } catch (error) {
    tryUnlinkat(directory, temporary);
    throw error;
  }
}

/** Removes what killed writers left in a directory under names of our own. */
function sweep(directory: number): void {
  const names = withFd(reopen(directory, O_RDONLY | O_DIRECTORY), readNames);
  for (const text of names) {
    if (!TEMPORARY.test(text)) continue;
    const name = entryName(text);
    const fd = tryOpenat(directory, name, O_RDONLY);
    if (fd < 0) continue;
    withFd(fd, () => {
      const { uid, isFile } = fstat(fd);
      if (isFile && uid === Deno.uid() && tryLock(fd, "exclusive", nameText(name))) {
        tryUnlinkat(directory, name);
      }
    });
  }
}

const invalid = (file: string, what: string) =>
  new VeneerError("invalid argument", `${file} ${what}`);
