/**
 * From a raw result to a value or a {@linkcode SyscallError}.
 *
 * Every wrapper in this folder has a raw form, `try…`, that returns the call's result or `-errno`,
 * for loops in which failures are ordinary; the plain form throws.
 *
 * @module
 */
import { type Path, pathText } from "./cstring.ts";
import { SyscallError } from "./errno.ts";

/** The subject of a call, whose text is only made for an error. */
export interface Subject {
  readonly text: string;
}

/** Returns `result`, or throws if it is a negated error number. */
export function unwrap(result: number, syscall: string, path?: Path | Subject): number {
  if (result < 0) throw new SyscallError(syscall, -result, path && textOf(path));
  return result;
}

function textOf(path: Path | Subject): string {
  return typeof path === "string" || path instanceof Uint8Array ? pathText(path) : path.text;
}

/** Throws unless `[offset, offset + length)` lies in `buffer` and below 2 GiB: C checks neither. */
export function assertRange(
  buffer: ArrayBufferView,
  offset: number,
  length: number,
): void {
  if (
    !(offset >= 0 && length >= 0 && length <= 0x7fff_f000 &&
      offset + length <= buffer.byteLength)
  ) {
    throw new RangeError(
      `bytes ${offset}..${offset + length} of a buffer of ${buffer.byteLength}`,
    );
  }
}
