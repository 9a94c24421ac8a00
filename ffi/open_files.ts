/**
 * The name of an open file, for messages about a descriptor.
 *
 * @module
 */
import { cstring, decode } from "./cstring.ts";
import { SyscallError } from "./errno.ts";
import { tree } from "./libc.ts";

/** `PATH_MAX` of `linux/limits.h`. */
const PATH_MAX = 4096;

/**
 * The path of an open file as `/proc` has it (proc(5)); `undefined` for a pipe or a socket, or
 * without `/proc`.
 */
export function openFileName(fd: number): string | undefined {
  const link = cstring(`/proc/self/fd/${fd}`), target = new Uint8Array(PATH_MAX);
  // No directory is needed for an absolute path.
  const length = tree.readlinkat()(-1, link, target, target.length);
  const file = decode(target.subarray(0, Math.max(0, length)));
  return file.startsWith("/") ? file : undefined;
}

/** Returns `result`, or throws about an open file if it is a negated error number. */
export function unwrapOpen(result: number, syscall: string, fd: number): number {
  if (result < 0) throw new SyscallError(syscall, -result, openFileName(fd));
  return result;
}
