/**
 * The name of an open file, for messages about a descriptor.
 *
 * @module
 */
import { decode } from "./cstring.ts";
import { SyscallError } from "./errno.ts";
import { tryReadlink } from "./paths.ts";

/**
 * The path of an open file as `/proc` has it (proc(5)); `undefined` for a pipe or a socket, or
 * without `/proc`.
 */
export function openFileName(fd: number): string | undefined {
  const target = tryReadlink(`/proc/self/fd/${fd}`);
  if (typeof target === "number") return undefined;
  const file = decode(target);
  return file.startsWith("/") ? file : undefined;
}

/**
 * Returns `result`, or throws about an open file if it is a negated error number.
 *
 * @param otherwise words for a pipe or a socket, which have no name
 */
export function unwrapOpen(
  result: number,
  syscall: string,
  fd: number,
  otherwise?: string,
): number {
  if (result < 0) throw new SyscallError(syscall, -result, openFileName(fd) ?? otherwise);
  return result;
}
