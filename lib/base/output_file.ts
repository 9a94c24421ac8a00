/**
 * A file that appears when it is complete: after a failure or a kill the previous file stays, and
 * nothing else is left.
 *
 * The content is written to a file without a name, in the directory of its place, and gets the name
 * last. If another file has that name, a temporary name is used in between; a file left under one
 * by a kill is removed by the next writer there. On file systems without nameless files the
 * temporary name is used from the start.
 *
 * @module
 */
import { readNames } from "../../ffi/directory.ts";
import { type EntryName, entryName, nameText } from "../../ffi/entry_name.ts";
import { EEXIST, ENOENT, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  duplicate,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_TMPFILE,
  O_WRONLY,
  open,
  reopen,
  tryOpen,
  tryOpenat,
  tryOpenParent,
  tryReopen,
  withFd,
} from "../../ffi/files.ts";
import { LOCK_EX, LOCK_NB, tryFlock } from "../../ffi/flock.ts";
import { fstat, Stat, tryStatat } from "../../ffi/stat.ts";
import {
  MAXSYMLINKS,
  readlinkat,
  S_ISVTX,
  S_IWOTH,
  tryLinkFile,
  tryRenameat,
  tryUnlinkat,
} from "../../ffi/names.ts";
import { openFileName } from "../../ffi/open_files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "./errors.ts";

/** Opens a directory for its names to be reached. */
const REACH = O_PATH | O_DIRECTORY;
/** A layer may hold files that only root may read. */
const MODE = 0o600;

/** A name of our own; only these are ever swept. */
const TEMPORARY = /^\.veneer-[0-9a-f-]{36}\.new$/;
const newTemporary = () => entryName(`.veneer-${crypto.randomUUID()}.new`);

/**
 * The directory of this process's own descriptors, as links that no path leads to: proc_pid_fd(5).
 */
const DESCRIPTORS = "/proc/self/fd";

/**
 * Runs `write` on a descriptor; its content becomes `file`.
 *
 * A device or pipe is written to directly, since no file could take its place. So is a descriptor
 * of this process, such as `/dev/stdout` or the result of `>(gzip)` in a shell. A symbolic link is
 * followed, unless it is another user's in a directory that everybody can write to.
 *
 * @throws {VeneerError} `invalid argument` for a directory and for such a link, and the errors of
 * `write`, about `file` instead of the descriptor
 */
export function writeOutputFile<T>(file: string, write: (fd: number) => T): T {
  return writeTo(file, (fd) => {
    try {
      return write(fd);
    } catch (error) {
      // Its own name is one that was made up, or none.
      if (!(error instanceof SyscallError) || error.path !== openFileName(fd)) throw error;
      throw new SyscallError(error.syscall, error.errno, file);
    }
  });
}

function writeTo<T>(file: string, write: (fd: number) => T): T {
  const place = placeOf(file);
  try {
    const found = isDescriptor(place) ? duplicateOf(place) : openInPlace(place);
    if (found !== undefined) return withFd(found, write);
    sweep(place.directory);
    return writeNew(place, write);
  } finally {
    close(place.directory);
  }
}

/** A name in an open directory; no symbolic link, unless it is a descriptor of this process. */
export interface Place {
  readonly directory: number;
  readonly name: EntryName;
  /** The path that it was named by, for messages. */
  readonly file: string;
}

/**
 * The place that a path leads to, resolved name by name, so that each link is checked before it is
 * followed. The caller closes the directory.
 */
function placeOf(file: string): Place {
  const rest = file.split("/");
  let directory = open(file.startsWith("/") ? "/" : ".", REACH);
  const enter = (next: number) => {
    unwrap(next, "open", file);
    close(directory);
    directory = next;
  };
  try {
    for (let links = 0; rest.length > 0;) {
      const part = rest.shift()!;
      if (part === "" || part === ".") continue;
      if (part === "..") {
        enter(tryOpenParent(directory, REACH));
        continue;
      }
      const isLast = rest.length === 0;
      const place = { directory, name: entryName(part), file };
      const found = new Stat();
      const result = tryStatat(directory, place.name, found);
      if (isLast && (result < 0 || !found.isSymlink || isDescriptor(place))) return place;
      if (result < 0 || !found.isSymlink) {
        enter(tryOpenat(directory, place.name, REACH));
        continue;
      }
      if (links++ === MAXSYMLINKS) throw invalid(file, "leads through too many symbolic links");
      checkOwner(`${file} ${isLast && links === 1 ? "is" : "leads through"}`, directory, found);
      const target = readlinkat(directory, place.name);
      rest.unshift(...target.split("/"));
      if (target.startsWith("/")) enter(tryOpen("/", REACH));
    }
    throw invalid(file, "is a directory; name a file");
  } catch (error) {
    close(directory);
    throw error;
  }
}

/** Whether a place stands for a descriptor of this process. */
function isDescriptor({ directory, name }: Place): boolean {
  if (!/^\d+$/.test(nameText(name))) return false;
  const own = tryOpen(DESCRIPTORS, O_PATH | O_DIRECTORY);
  return own >= 0 && withFd(own, () => fstat(own).isSameInode(fstat(directory)));
}

/** Another of the descriptor that a place stands for. */
function duplicateOf({ directory, name, file }: Place): number {
  const fd = Number(nameText(name));
  try {
    // The number may have been free until the place itself was opened.
    if (fd !== directory) return duplicate(fd);
  } catch {
    // Not open.
  }
  throw invalid(file, "is not open");
}

/**
 * The rule of the kernel's `fs.protected_symlinks` and `fs.protected_fifos` (proc_sys_fs(5)), which
 * it applies if it follows a link or opens a pipe itself.
 *
 * @param beginning of the sentence that `found` ends
 */
function checkOwner(beginning: string, directory: number, found: Stat): void {
  const above = fstat(directory);
  const isShared = (above.mode & S_ISVTX) !== 0 && (above.mode & S_IWOTH) !== 0;
  if (!isShared || found.uid === Deno.uid() || found.uid === above.uid) return;
  const kind = found.isSymlink ? "symbolic link" : "special file";
  throw new VeneerError(
    "invalid argument",
    `${beginning} a ${kind} of user ${found.uid} in a directory that everybody can write to; name another file`,
  );
}

/**
 * Opens a device or a pipe; `undefined` for a file or an unused name. Its type is checked before it
 * is opened for writing, which waits at a pipe for a reader and can start a device.
 */
function openInPlace({ directory, name, file }: Place): number | undefined {
  const found = tryOpenat(directory, name, O_PATH);
  if (found === -ENOENT) return undefined;
  return withFd(unwrap(found, "open", file), () => {
    const stat = fstat(found);
    if (stat.isDirectory) throw invalid(file, "is a directory; name a file");
    if (stat.isFile) return undefined;
    if (stat.isSymlink) throw invalid(file, "was replaced while it was opened");
    checkOwner(`${file} is`, directory, stat);
    return unwrap(tryOpen(`${DESCRIPTORS}/${found}`, O_WRONLY), "open", file);
  });
}

function writeNew<T>(place: Place, write: (fd: number) => T): T {
  const { directory, name, file } = place;
  const fd = tryReopen(directory, O_TMPFILE | O_WRONLY, MODE);
  if (fd < 0) return writeNamed(place, write);
  return withFd(fd, () => {
    hold(fd);
    const result = write(fd);
    const linked = tryLinkFile(fd, directory, name);
    if (linked !== -EEXIST) unwrap(linked, "linkat", file);
    else {
      const temporary = newTemporary();
      unwrap(tryLinkFile(fd, directory, temporary), "linkat", file);
      rename(place, temporary);
    }
    return result;
  });
}

/** The same on a file system that has no files without a name. */
export function writeNamed<T>(place: Place, write: (fd: number) => T): T {
  const { directory, file } = place;
  const temporary = newTemporary();
  const fd = unwrap(
    tryOpenat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL, MODE),
    "open",
    file,
  );
  return withFd(fd, () => {
    let result: T;
    try {
      hold(fd);
      result = write(fd);
    } catch (error) {
      tryUnlinkat(directory, temporary);
      throw error;
    }
    rename(place, temporary);
    return result;
  });
}

/** Gives a file with a name of our own the name that it is for; if that fails, it is removed. */
function rename({ directory, name, file }: Place, temporary: EntryName): void {
  const result = tryRenameat(directory, temporary, directory, name);
  if (result < 0) tryUnlinkat(directory, temporary);
  unwrap(result, "renameat", file);
}

/**
 * Keeps a file of ours from being swept until it is closed. Some file systems have no locks:
 * nothing is swept there.
 */
function hold(fd: number): boolean {
  return tryFlock(fd, LOCK_EX | LOCK_NB) === 0;
}

/** Removes files that killed writers left in a directory under temporary names. */
function sweep(directory: number): void {
  const found = new Stat();
  for (const text of withFd(reopen(directory, O_RDONLY | O_DIRECTORY), readNames)) {
    if (!TEMPORARY.test(text)) continue;
    const name = entryName(text);
    // Looked at first and opened without waiting: anybody can have put a pipe there.
    if (tryStatat(directory, name, found) < 0 || !isOurs(found)) continue;
    const fd = tryOpenat(directory, name, O_RDONLY | O_NONBLOCK);
    if (fd < 0) continue;
    withFd(fd, () => {
      if (isOurs(fstat(fd, found)) && hold(fd)) tryUnlinkat(directory, name);
    });
  }
}

const isOurs = ({ uid, isFile }: Stat) => isFile && uid === Deno.uid();

const invalid = (file: string, what: string) =>
  new VeneerError("invalid argument", `${file} ${what}`);
