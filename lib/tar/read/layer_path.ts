/**
 * Paths inside a layer. Only here bytes of a tar become a path or the target of a link.
 *
 * A name from any form of tar (a header's fields, pax, GNU's long names, the names of sparse files,
 * the targets of hard links) enters the engine as a {@linkcode LayerPath}, and only by
 * {@linkcode LayerPath.setPath}; the target of a symbolic link is a {@linkcode LinkTarget}. This is
 * the first of two walls. The second is `EntryName` in `ffi/entry_name.ts`, which every call on an
 * entry requires; the kernel keeps links inside (see `placement.ts`).
 *
 * @module
 */
import { decode, DOT, SLASH } from "../../../ffi/cstring.ts";
import { type EntryName, entryNameIn, NAME_MAX } from "../../../ffi/entry_name.ts";
import { PATH_MAX } from "../../../ffi/names.ts";

/** In bytes; the NUL counts in `PATH_MAX`. */
export const LONGEST_PATH = PATH_MAX - 1;

/** How long the prefix `.wh.` of a whiteout's name is. */
const WHITEOUT_LENGTH = 4;

/** The fault of a path or a target: a phrase about the entry. */
export class PathError extends RangeError {}

/**
 * A path relative to the layer's root, checked and normalised: no NUL, no empty component, no `.`,
 * no `..`, no component above 255 bytes (after a whiteout's prefix) and at most 4095 of them in
 * all. A new one is the root itself.
 *
 * It is filled again and again, so that a layer of a hundred thousand files makes no garbage.
 */
export class LayerPath {
  readonly #bytes = new Uint8Array(LONGEST_PATH + 1);
  #length = 0;
  #nameStart = 0;
  #whiteoutStart = -1;
  #name: EntryName | undefined;

  /** The path, NUL-terminated at {@linkcode pathLength}: never write to it. */
  get path(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** In bytes; 0 for the layer's root. */
  get pathLength(): number {
    return this.#length;
  }

  /** The start of the last component. */
  get nameStart(): number {
    return this.#nameStart;
  }

  /** The start of the first component whose name begins with `.wh.`; -1 if there is none. */
  get whiteoutStart(): number {
    return this.#whiteoutStart;
  }

  /** The last component. Throws RangeError for the layer's root, which has no name. */
  get name(): EntryName {
    return this.#name ??= entryNameIn(this.#bytes, this.#nameStart, this.#length);
  }

  /** The directory's path: a view. */
  get parentPath(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, Math.max(0, this.#nameStart - 1));
  }

  /** For messages. */
  get text(): string {
    return this.#length === 0 ? "./" : decode(this.#bytes.subarray(0, this.#length));
  }

  /**
   * Sets the path from the first `length` bytes of `raw`, as a tar has them. Throws
   * {@linkcode PathError}.
   */
  setPath(raw: Uint8Array, length: number): void {
    if (length === 0) throw new PathError("its name is empty");
    this.#name = undefined;
    this.#length = normalise(raw, length, this.#bytes);
    this.#bytes[this.#length] = 0;
    let start = this.#length;
    while (start > 0 && this.#bytes[start - 1] !== SLASH) start--;
    this.#nameStart = start;
    this.#whiteoutStart = findWhiteout(this.#bytes, this.#length);
  }
}

declare const checked: unique symbol;

/**
 * The target of a symbolic link, NUL-terminated: at least one byte, and no NUL inside. Never write
 * to it.
 */
export type LinkTarget = Uint8Array<ArrayBuffer> & { readonly [checked]: true };

/** The target of a symbolic link, from its bytes in a tar. Throws {@linkcode PathError}. */
export function linkTarget(raw: Uint8Array): LinkTarget {
  if (raw.length === 0) throw new PathError("it is a link without a target");
  if (raw.length > LONGEST_PATH) {
    throw new PathError("the target of the link is longer than 4095 bytes");
  }
  if (raw.includes(0)) throw new PathError("the target of the link holds a NUL byte");
  const terminated = new Uint8Array(raw.length + 1);
  terminated.set(raw);
  return terminated as LinkTarget;
}

function findWhiteout(path: Uint8Array, length: number): number {
  for (let at = 0; at < length; at++) {
    if (isWhiteoutAt(path, at) && (at === 0 || path[at - 1] === SLASH)) return at;
  }
  return -1;
}

function isWhiteoutAt(path: Uint8Array, at: number): boolean {
  return path[at] === DOT && path[at + 1] === 0x77 && path[at + 2] === 0x68 &&
    path[at + 3] === DOT;
}

/**
 * Writes a path's components to `into`, joined by single slashes, and returns the length.
 *
 * `..` removes the component before it, as in every reader of layers; one too many is refused,
 * since no tar of a layer has a reason to name a path above the root.
 *
 * @throws {PathError}
 */
function normalise(raw: Uint8Array, length: number, into: Uint8Array): number {
  let out = 0;
  for (let at = 0; at < length;) {
    let end = at;
    for (; end < length && raw[end] !== SLASH; end++) {
      // C would end the name here, before the part that was checked.
      if (raw[end] === 0) throw new PathError("its path holds a NUL byte");
    }
    const size = end - at;
    if (size === 2 && raw[at] === DOT && raw[at + 1] === DOT) {
      if (out === 0) {
        throw new PathError("its path leads out of the layer by '..'");
      }
      while (out > 0 && into[--out] !== SLASH);
    } else if (size > 0 && !(size === 1 && raw[at] === DOT)) {
      // The limit holds for the hidden name, without a whiteout's prefix.
      if (size - (isWhiteoutAt(raw, at) ? WHITEOUT_LENGTH : 0) > NAME_MAX) {
        throw new PathError("a component of its path is longer than 255 bytes");
      }
      if (out + size + 1 > LONGEST_PATH) throw new PathError("its path is longer than 4095 bytes");
      if (out > 0) into[out++] = SLASH;
      for (let i = at; i < end; i++) into[out++] = raw[i];
    }
    at = end + 1;
  }
  return out;
}
