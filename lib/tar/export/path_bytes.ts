/**
 * The path of a walk's position, as bytes that grow and shrink at the end.
 *
 * @module
 */
import { SLASH } from "../../../ffi/cstring.ts";

export class PathBytes {
  #bytes: Uint8Array<ArrayBuffer>;
  #length: number;

  constructor(path: Uint8Array = new Uint8Array(0)) {
    this.#bytes = new Uint8Array(Math.max(4096, path.length * 2));
    this.#bytes.set(path);
    this.#length = path.length;
  }

  get length(): number {
    return this.#length;
  }

  /** Cuts the path, for a return to a directory above. */
  set length(length: number) {
    this.#length = length;
  }

  /** Adds a name without the NUL at its end, and after a directory's name a slash. */
  push(name: Uint8Array, directory: boolean): void {
    const length = name.length - 1;
    const needed = this.#length + length + 1;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(needed * 2);
      larger.set(this.view);
      this.#bytes = larger;
    }
    for (let i = 0; i < length; i++) this.#bytes[this.#length + i] = name[i];
    this.#length += length;
    if (directory) this.#bytes[this.#length++] = SLASH;
  }

  /** The path, valid until the next change. */
  get view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }
}
