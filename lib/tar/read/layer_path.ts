/**
 * Paths inside a layer: the one place where bytes of a tar become a path or the target of a link.
 *
 * Whatever form of tar a name comes in (a header's fields, pax, GNU's long names, the names of sparse files,
 * the targets of hard links), it gets into the engine as a {@linkcode LayerPath}, whose only way in is
 * {@linkcode LayerPath.setPath}; the target of a symbolic link is a {@linkcode LinkTarget}. This is the first
 * of two walls. The second is `EntryName` in `ffi/entry_name.ts`, which no call on an entry does without;
 * and it is the kernel that keeps links inside (see `placement.ts`).
 *
 * @module
 */
import { decode, DOT, SLASH } from "../../../ffi/cstring.ts";
import { type EntryName, entryName, NAME_MAX } from "../../../ffi/entry_name.ts";
import { PATH_MAX } from "../../../ffi/names.ts";

/** In bytes; the NUL counts in `PATH_MAX`. */
export const LONGEST_PATH = PATH_MAX - 1;

/** The complaint about a path or a target: a phrase whose subject is the entry. */
export class PathError extends RangeError {}

/**
 * A path relative to the layer's root, checked and normalised: no NUL, no empty component, no `.`, no `..`,
 * no component above 255 bytes and at most 4095 of them in all. A new one is the root itself.
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

  /** Where the last component starts. */
  get nameStart(): number {
    return this.#nameStart;
  }

  /** Where the first component starts whose name begins with `.wh.`; -1 if there is none. */
  get whiteoutStart(): number {
    return this.#whiteoutStart;
  }

  /** The last component. Throws RangeError for the layer's root, which has no name. */
  get name(): EntryName {
    return this.#name ??= entryName(this.#bytes.subarray(this.#nameStart, this.#length));
  }

  /** The directory's path: a view. */
  get parentPath(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, Math.max(0, this.#nameStart - 1));
  }

  /** For messages. */
  get text(): string {
    return this.#length === 0 ? "./" : decode(this.#bytes.subarray(0, this.#length));
  }

  /** Sets the path from the first `length` bytes of `raw`, as a tar has them. Throws {@linkcode PathError}. */
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

/** What a symbolic link says, NUL-terminated: any bytes but none, and no NUL. Never write to it. */
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
 * @throws {PathError}
 */
function normalise(raw: Uint8Array, length: number, into: Uint8Array): number {
  let out = 0;
  for (let at = 0; at < length;) {
    let end = at;
    for (; end < length && raw[end] !== SLASH; end++) {
      // C would end the name here, whatever was checked behind it.
      if (raw[end] === 0) throw new PathError("its path holds a NUL byte");
    }
    const size = end - at;
    if (size === 2 && raw[at] === DOT && raw[at + 1] === DOT) {
      if (out === 0) {
        throw new PathError("its path leads out of the layer by '..'");
      }
      while (out > 0 && into[--out] !== SLASH);
    } else if (size > 0 && !(size === 1 && raw[at] === DOT)) {
      if (size > NAME_MAX) {
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
