/**
 * The process's own attributes: umask, working directory, terminal.
 *
 * @module
 */
import { E, library, process } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

/** `CLONE_FS` of `linux/sched.h`: the working directory, root and umask. */
const CLONE_FS = 0x200;
/** `CLONE_NEWNS` of `linux/sched.h`: the mount namespace. */
const CLONE_NEWNS = 0x20000;

let ownFsContext = false;

/**
 * Separates the umask and working directory of the calling thread from those of the other threads.
 * Does so once.
 */
export function unshareFsContext(): void {
  if (ownFsContext) return;
  const result = process.unshare()(CLONE_FS);
  unwrap(result < 0 ? -E[0] : result, "unshare");
  ownFsContext = true;
}

/**
 * Moves the calling thread to a new mount namespace, with a separate working directory and umask.
 */
export function unshareMountNamespace(): void {
  const result = process.unshare()(CLONE_NEWNS);
  unwrap(result < 0 ? -E[0] : result, "unshare");
  ownFsContext = true;
}

/** Sets this thread's umask (see {@linkcode unshareFsContext}); returns the previous one. */
export function umask(mask: number): number {
  unshareFsContext();
  return process.umask()(mask);
}

/** Sets this thread's working directory to an open directory. */
export function fchdir(fd: number): void {
  unshareFsContext();
  const result = process.fchdir()(fd);
  unwrap(result < 0 ? -E[0] : result, "fchdir");
}

/** The version of glibc, such as `2.36`. Throws if the C library is not glibc. */
export function libcVersion(): string {
  const text = library.gnu_get_libc_version()();
  return text === null ? "unknown" : Deno.UnsafePointerView.getCString(text);
}
