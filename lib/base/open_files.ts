/**
 * The name of an open file, for messages about a descriptor opened elsewhere.
 *
 * @module
 */
import { readlink } from "../../ffi/paths.ts";

/** The path of an open file as `/proc` has it (proc(5)); `undefined` for a pipe or a socket. */
export function openFileName(fd: number): string | undefined {
  const file = readlink(`/proc/self/fd/${fd}`);
  return file.startsWith("/") ? file : undefined;
}
