/**
 * Names of directory entries, checked.
 *
 * Every call that takes a directory's descriptor and the name of an entry takes the name as an
 * {@linkcode EntryName}. Only {@linkcode entryName} makes one, so no such call can reach above,
 * below or beside the directory, for names of any source: the second wall behind the checks
 * of tars and stores.
 *
 * @module
 */
import { decode, DOT, encode, SLASH } from "./cstring.ts";

/** The most bytes of a name: `NAME_MAX` of `linux/limits.h`. */
export const NAME_MAX = 255;

declare const checked: unique symbol;

/** One component of a path, NUL-terminated. The bytes are a private copy: never write to them. */
export type EntryName = Uint8Array<ArrayBuffer> & { readonly [checked]: true };

/** The error for an invalid name. */
export class NameError extends RangeError {}

/**
 * The name of an entry, from its text (see `cstring.ts`) or its bytes without a NUL at their end.
 *
 * @throws {NameError} if it is empty, `.` or `..`, holds a `/` or a NUL, or is longer than
 * {@linkcode NAME_MAX}
 */
export function entryName(name: string | Uint8Array): EntryName {
  const bytes = typeof name === "string" ? encode(name) : name;
  return entryNameIn(bytes, 0, bytes.length);
}

/** The same, from the bytes between two places. For many names, this saves a view of each. */
export function entryNameIn(bytes: Uint8Array, start: number, end: number): EntryName {
  const reason = defect(bytes, start, end);
  if (reason !== undefined) {
    const name = shown(bytes.subarray(start, end));
    throw new NameError(`${name} is not a name in a directory: it ${reason}`);
  }
  const terminated = new Uint8Array(end - start + 1);
  for (let i = start; i < end; i++) terminated[i - start] = bytes[i];
  return terminated as EntryName;
}

/** The rule that a name breaks; `undefined` if it is valid. */
function defect(bytes: Uint8Array, start: number, end: number): string | undefined {
  const length = end - start;
  if (length === 0) return "is empty";
  if (length > NAME_MAX) return `has ${length} bytes, ${NAME_MAX} are allowed`;
  if (bytes[start] === DOT && (length === 1 || length === 2 && bytes[start + 1] === DOT)) {
    return "stands for a directory itself or the one above it";
  }
  for (let i = start; i < end; i++) {
    if (bytes[i] === SLASH) return "holds a slash";
    if (bytes[i] === 0) return "holds a NUL byte";
  }
  return undefined;
}

/** The text of a name. */
export function nameText(name: EntryName): string {
  return decode(name.subarray(0, -1));
}

function shown(bytes: Uint8Array): string {
  const LONGEST = 80;
  return JSON.stringify(decode(bytes.subarray(0, LONGEST)) + (bytes.length > LONGEST ? "…" : ""));
}
