/**
 * One entry of a tar, as the reader fills it: reused from entry to entry, so that a layer of a hundred
 * thousand files makes no garbage.
 *
 * A path is kept as bytes, relative to the layer's root and normalised: no empty components, no `.`, no `..`.
 * It is the system calls that keep it inside (see `placement.ts`); what is refused here could not be placed.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import type { Xattr } from "./pax.ts";
import type { SparseMap } from "./sparse.ts";

/** `PATH_MAX` and `NAME_MAX` of `linux/limits.h`, without the NUL. */
export const LONGEST_PATH = 4095;
export const LONGEST_NAME = 255;

const SLASH = 0x2f;
const DOT = 0x2e;

/** What a header and its extensions say. */
export class Entry {
  /** Where the entry starts in the tar, its extension headers included, in bytes. */
  offset = 0;
  /** A `typeflag` of `header.ts`; a regular file is always `REGULAR`. */
  type = 0;
  /** Permission bits with setuid, setgid and sticky. */
  mode = 0;
  uid = 0;
  gid = 0;
  /** Bytes of data that follow. */
  size = 0;
  seconds = 0;
  nanos = 0;
  accessSeconds = 0;
  accessNanos = 0;
  /** Of a device. */
  major = 0;
  minor = 0;
  xattrs: readonly Xattr[] = [];
  sparse: SparseMap | undefined;

  /** The path, NUL-terminated at {@linkcode pathLength}. */
  readonly path: Uint8Array<ArrayBuffer> = new Uint8Array(LONGEST_PATH + 1);
  /** In bytes; 0 for the layer's root. */
  pathLength = 0;
  /** Where the last component starts. */
  nameStart = 0;
  #name: EntryName | undefined;

  /** Where the first component starts whose name begins with `.wh.`; -1 where there is none. */
  whiteoutStart = -1;

  /** A link's target as it is written, NUL-terminated at {@linkcode linkLength}. */
  readonly link: Uint8Array<ArrayBuffer> = new Uint8Array(LONGEST_PATH + 1);
  linkLength = 0;

  /** The last component. Throws RangeError for the layer's root, which has no name. */
  get name(): EntryName {
    return this.#name ??= entryName(this.path.subarray(this.nameStart, this.pathLength));
  }

  /** The directory's path: a view. */
  get parentPath(): Uint8Array<ArrayBuffer> {
    return this.path.subarray(0, Math.max(0, this.nameStart - 1));
  }

  /** For messages. */
  get text(): string {
    return this.pathLength === 0 ? "./" : decode(this.path.subarray(0, this.pathLength));
  }

  /** The file's length: of a sparse one, with its holes. */
  get fileSize(): number {
    return this.sparse === undefined ? this.size : this.sparse.size;
  }

  /** Sets the path from its bytes in the tar. Throws RangeError. */
  setPath(raw: Uint8Array, length: number): void {
    if (length === 0) throw new RangeError("its name is empty");
    this.#name = undefined;
    this.pathLength = normalise(raw, length, this.path);
    this.path[this.pathLength] = 0;
    let start = this.pathLength;
    while (start > 0 && this.path[start - 1] !== SLASH) start--;
    this.nameStart = start;
    this.whiteoutStart = findWhiteout(this.path, this.pathLength);
  }

  /** Sets the target from its bytes in the tar. Throws RangeError. */
  setLink(raw: Uint8Array, length: number): void {
    if (length > LONGEST_PATH) {
      throw new RangeError("the target of the link is longer than 4095 bytes");
    }
    for (let i = 0; i < length; i++) this.link[i] = raw[i];
    this.link[length] = 0;
    this.linkLength = length;
  }
}

function findWhiteout(path: Uint8Array, length: number): number {
  for (let at = 0; at < length; at++) {
    if (
      path[at] === DOT && path[at + 1] === 0x77 && path[at + 2] === 0x68 && path[at + 3] === DOT &&
      (at === 0 || path[at - 1] === SLASH)
    ) return at;
  }
  return -1;
}

/**
 * Writes a path's components to `into`, joined by single slashes, and returns the length.
 *
 * `..` takes the component before it away, as every reader of layers has it; one too many is refused, since
 * no tar of a layer has a reason to name what lies above the root.
 *
 * @param atRoot what `..` at the root does: `stay` is how the kernel has it for the targets of links
 * @throws {RangeError}
 */
export function normalise(
  raw: Uint8Array,
  length: number,
  into: Uint8Array,
  atRoot: "refuse" | "stay" = "refuse",
): number {
  let out = 0;
  for (let at = 0; at < length;) {
    let end = at;
    while (end < length && raw[end] !== SLASH) end++;
    const size = end - at;
    if (size === 2 && raw[at] === DOT && raw[at + 1] === DOT) {
      if (out === 0 && atRoot === "refuse") {
        throw new RangeError("its path leads out of the layer by '..'");
      }
      while (out > 0 && into[--out] !== SLASH);
    } else if (size > 0 && !(size === 1 && raw[at] === DOT)) {
      if (size > LONGEST_NAME) {
        throw new RangeError("a component of its path is longer than 255 bytes");
      }
      if (out + size + 1 > LONGEST_PATH) throw new RangeError("its path is longer than 4095 bytes");
      if (out > 0) into[out++] = SLASH;
      for (let i = at; i < end; i++) into[out++] = raw[i];
    }
    at = end + 1;
  }
  return out;
}
