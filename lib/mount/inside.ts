/**
 * Becoming a program inside a mounted tree: in a mount namespace of its own, with the tree as its
 * root directory.
 *
 * This confines nothing: the program has all rights of its user on this host. The namespace only
 * lets the mounts that it gets, and makes, end with it.
 *
 * The tree is hostile. Until the root is changed, no path leads into it by a link: directories to
 * mount on are opened below its descriptor. After that, every path is the program's own.
 *
 * @module
 */
import { EACCES, ENOENT, ENOTDIR, SyscallError } from "../../ffi/errno.ts";
import {
  chdir,
  chrootHere,
  closeAtExec,
  restoreSigpipe,
  setIds,
  tryExecve,
} from "../../ffi/exec.ts";
import { O_DIRECTORY, O_PATH, openat2, RESOLVE_INSIDE, withFd } from "../../ffi/files.ts";
import { resourceLimit, RLIMIT_NOFILE, setResourceLimit } from "../../ffi/limits.ts";
import { mount, MS_BIND, MS_PRIVATE, MS_REC } from "../../ffi/mount.ts";
import { fchdir, unshareMountNamespace } from "../../ffi/process.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import { interpreterOf } from "./interpreter.ts";
import { openWithoutLinks } from "../tree/confined.ts";

/** The user that a program runs as, by ids of this host. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** A program, and its place. */
export interface InsideProgram {
  /** The path of the mounted tree. */
  readonly root: string;
  /** Whether /proc, /sys and /dev of this host are mounted in the tree. */
  readonly mountSystem: boolean;
  /** An absolute path in the tree. */
  readonly workdir: string;
  readonly user: User;
  /** All of its environment, each as `NAME=value`. */
  readonly environment: readonly string[];
  /** The soft limit of open files. */
  readonly openFiles: number;
  /** The program, found by PATH in the tree unless it has a slash, and its arguments. */
  readonly command: readonly string[];
}

/** The exit statuses of shells for a program that cannot be run, and for one that is missing. */
export const CANNOT_RUN = 126, NOT_FOUND = 127;

/** The directories that are searched for programs if the environment has no PATH. */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Becomes a program. There is no return if that succeeds.
 *
 * @throws {VeneerError} `not found` if there is no such program, `failed` if it cannot be run,
 * `failed precondition` if the tree has no directory to mount on or to begin in
 */
export function becomeInside(program: InsideProgram): never {
  const { root, mountSystem, workdir, user: { uid, gid }, openFiles } = program;
  unshareMountNamespace();
  mount({ target: "/", flags: MS_REC | MS_PRIVATE });
  withFd(openWithoutLinks(root, O_PATH | O_DIRECTORY), (fd) => {
    if (mountSystem) mountSystemIn(fd);
    fchdir(fd);
  });
  chrootHere();
  begin(workdir);
  const { hard } = resourceLimit(RLIMIT_NOFILE);
  setResourceLimit(RLIMIT_NOFILE, { soft: BigInt(openFiles), hard });
  setIds(uid, gid);
  restoreSigpipe();
  closeAtExec();
  throw execute(program);
}

/** Mounts a new /proc, and this host's /sys and /dev with the mounts below them. */
function mountSystemIn(root: number): void {
  for (const name of ["proc", "sys", "dev"]) {
    try {
      withFd(openat2(root, name, O_PATH | O_DIRECTORY, RESOLVE_INSIDE), (fd) => {
        const target = `/proc/self/fd/${fd}`;
        if (name === "proc") mount({ source: "proc", target, type: "proc" });
        else mount({ source: `/${name}`, target, flags: MS_BIND | MS_REC });
      });
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      throw new VeneerError(
        "failed precondition",
        `/${name} cannot be mounted in the tree: ${
          messageOf(error)
        }; make a directory /${name} there`,
        { cause: error },
      );
    }
  }
}

function begin(workdir: string): void {
  try {
    chdir(workdir);
  } catch (error) {
    throw new VeneerError(
      "failed precondition",
      `${workdir} cannot be the working directory: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** Tries each place where the program may be; returns the error of the most telling. */
function execute({ command, environment }: InsideProgram): VeneerError {
  const [name] = command;
  const path = environment.find((variable) => variable.startsWith("PATH="))?.slice(5) ??
    DEFAULT_PATH;
  const places = name.includes("/")
    ? [name]
    : path.split(":").map((directory) => `${directory || "."}/${name}`);
  let failed: SyscallError | undefined, interpreter: string | undefined;
  for (const place of places) {
    const errno = -tryExecve(place, command, environment);
    if (errno === ENOENT) interpreter ??= interpreterOf(place);
    if (errno === ENOENT || errno === ENOTDIR) continue;
    failed ??= new SyscallError("execve", errno, place);
    if (errno !== EACCES) break;
  }
  const shown = JSON.stringify(name);
  if (failed !== undefined) {
    return new VeneerError("failed", `program ${shown} cannot be run: ${failed.message}`);
  }
  if (interpreter !== undefined) {
    const needed = JSON.stringify(interpreter.slice(0, 200));
    return new VeneerError(
      "not found",
      `program ${shown} needs the interpreter ${needed}, which is not in the tree`,
    );
  }
  return new VeneerError("not found", `program ${shown} is not in the tree`);
}
