/**
 * The socket of a service, which only root can use, in a directory that only root can write to.
 *
 * Beside the socket `S` there is an empty file `S.lock`, which the service at `S` holds locked. So
 * if two services start at the same time, neither deletes the other's socket as a leftover. If the
 * file is not locked, no service of Veneer's uses the socket; whether another program does is found
 * out by connecting to it.
 *
 * The socket is bound as `S.bound` and renamed. So `S` exists only when the service is ready. The
 * runtime removes the name that it has bound when it closes a listener, so it does not remove a
 * file that another program has put at `S` since.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { encode } from "../../ffi/cstring.ts";
import { close, O_CREAT, O_NOFOLLOW, O_RDWR, open } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { rename, tryUnlink, unlink } from "../../ffi/paths.ts";
import { umask } from "../../ffi/process.ts";
import { fstat, lstat, tryLstat } from "../../ffi/stat.ts";
import { RENAME_NOREPLACE, S_IFSOCK } from "../../ffi/names.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import { makeDirectories } from "../store/home.ts";

/** The suffix of the name under which a socket is bound first. */
const BOUND = ".bound";

/**
 * The longest path of a socket in bytes: the limit of unix(7), minus the length of
 * {@linkcode BOUND}.
 */
const MAX_PATH = 107 - BOUND.length;

/**
 * The mode of new directories above the socket: any user may enter, only root may list and write.
 */
const DIRECTORY_MODE = 0o711;

/** A socket on which a service listens. Disposing of it closes and removes it. */
export interface ServiceSocket<Listener> extends Disposable {
  /** An absolute path without symbolic links. */
  readonly path: string;
  readonly listener: Listener;
}

/** The functions with which a service listens. */
export interface Listening<Listener> {
  /** Binds a socket at a path and listens there. */
  bind(path: string): Listener;
  /** Stops accepting connections. */
  end(listener: Listener): void;
}

/** The functions for a service that accepts connections itself. */
export const CONNECTIONS: Listening<Deno.UnixListener> = {
  bind: (path) => Deno.listen({ transport: "unix", path }),
  end: (listener) => listener.close(),
};

/**
 * Listens at an address.
 *
 * @param address an absolute path, with or without `unix://` before it
 * @throws {VeneerError} `in use` if another service listens there; `already exists` if there is a
 * file that is not a socket; `failed precondition` if other users could replace the socket;
 * `invalid argument` for an invalid address
 */
export async function listenAt<Listener>(
  address: string,
  listening: Listening<Listener>,
): Promise<ServiceSocket<Listener>> {
  const path = resolvedPath(address.replace(/^unix:\/\//, ""));
  checkDirectories(dirname(path), dirname(path));
  const lock = lockSocket(path);
  try {
    await removeStale(path);
    const listener = bindPrivately(path, listening);
    // While the socket is open, no other file gets the same inode number.
    const { inode } = lstat(path);
    return {
      path,
      listener,
      [Symbol.dispose]() {
        if (tryLstat(path)?.inode === inode) tryUnlink(path);
        listening.end(listener);
        unlock(path, lock);
      },
    };
  } catch (error) {
    unlock(path, lock);
    throw error;
  }
}

function resolvedPath(given: string): string {
  const refuse = (rule: string) =>
    new VeneerError("invalid argument", `socket ${JSON.stringify(given)}: ${rule}`);
  if (!given.startsWith("/") || given.endsWith("/")) throw refuse("name it by an absolute path");
  if (given.includes("\0")) throw refuse("it has a NUL");
  const parent = dirname(given);
  checkLinks(parent);
  checkDirectories(Deno.realPathSync(nearestExisting(parent)), parent);
  makeDirectories(parent, DIRECTORY_MODE);
  checkLinks(parent);
  const path = join(Deno.realPathSync(dirname(given)), basename(given));
  const { length } = encode(path);
  if (length > MAX_PATH) throw refuse(`its path has ${length} bytes, ${MAX_PATH} are allowed`);
  return path;
}

/** Refuses links of other users, who could decide the directory in which the socket is created. */
function checkLinks(parent: string): void {
  for (let path = parent; path !== "/"; path = dirname(path)) {
    const found = tryLstat(path);
    if (found === undefined || !found.isSymlink || found.uid === 0) continue;
    throw new VeneerError(
      "failed precondition",
      `${path} is a symbolic link of user ${found.uid}, who could lead the socket elsewhere; name its target`,
    );
  }
}

function nearestExisting(path: string): string {
  while (path !== "/" && tryLstat(path) === undefined) path = dirname(path);
  return path;
}

/**
 * Refuses directories that other users can write to, because they could replace the socket.
 *
 * @param lowest the lowest directory to check; `parent` is that of the socket
 */
function checkDirectories(lowest: string, parent: string): void {
  for (let directory = lowest;; directory = dirname(directory)) {
    const { uid, gid, mode } = lstat(directory);
    const isWritable = (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== 0);
    // In a sticky directory other users cannot rename root's files, but they could create the
    // socket before root does. So the socket's own directory must not be one.
    const isSafe = uid === 0 && (!isWritable || ((mode & 0o1000) !== 0 && directory !== parent));
    if (!isSafe) {
      const why = uid === 0 ? `mode ${(mode & 0o7777).toString(8)}` : `owner ${uid}`;
      throw new VeneerError(
        "failed precondition",
        `${directory} can be written to by others than root (${why}), who could replace the socket; ` +
          "choose one that only root can write to",
      );
    }
    if (directory === "/") return;
  }
}

const lockPath = (path: string) => `${path}.lock`;

/** @throws {VeneerError} `in use`; `already exists` if the file is another program's */
function lockSocket(path: string): number {
  for (;;) {
    const lock = lockPath(path);
    const fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    if (fstat(fd).size > 0) {
      close(fd);
      throw new VeneerError("already exists", `${lock} is not a lock; move it elsewhere`, {
        remedy: { kind: "other address" },
      });
    }
    if (!tryLock(fd, "exclusive", lock)) {
      close(fd);
      throw inUse(path);
    }
    // A service that ended meanwhile may have removed the name. Then another service could lock a
    // new file of that name.
    if (isNameOf(fd, lock)) return fd;
    close(fd);
  }
}

/** Removes the file while it is locked, so that it is not another service's. */
function unlock(path: string, lock: number): void {
  tryUnlink(lockPath(path));
  close(lock);
}

function isNameOf(fd: number, path: string): boolean {
  const named = tryLstat(path);
  return named !== undefined && fstat(fd).isSameInode(named);
}

/** Removes a socket on which no program listens. */
async function removeStale(path: string): Promise<void> {
  const stat = tryLstat(path);
  if (stat === undefined) return;
  if (stat.type !== S_IFSOCK) {
    throw new VeneerError("already exists", `${path} is not a socket; remove it or choose another`);
  }
  try {
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return unlink(path);
    // A program listens, but its queue of connections is full.
    if (!(error instanceof Deno.errors.WouldBlock)) throw failed(path, error);
  }
  throw inUse(path);
}

/** Binds a socket that has mode 0600 from the beginning. */
function bindPrivately<Listener>(path: string, { bind, end }: Listening<Listener>): Listener {
  const bound = path + BOUND;
  tryUnlink(bound); // A killed service may have left it.
  const former = umask(0o177);
  let listener: Listener;
  try {
    listener = bind(bound);
  } catch (error) {
    throw failed(path, error);
  } finally {
    umask(former);
  }
  try {
    rename(bound, path, RENAME_NOREPLACE);
    return listener;
  } catch (error) {
    end(listener);
    throw error;
  }
}

function inUse(path: string): VeneerError {
  return new VeneerError("in use", `another service listens at ${path}; end it`, {
    remedy: { kind: "other address" },
  });
}

function failed(path: string, error: unknown): VeneerError {
  return new VeneerError("failed", `${path}: ${messageOf(error)}`, { cause: error });
}
