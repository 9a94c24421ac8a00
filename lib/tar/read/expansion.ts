/**
 * The bound of what compressed input may become, which keeps a small file from filling a disk.
 *
 * @module
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** How many bytes one of the input may become. Deflate (RFC 1951) makes 1032 of one at most. */
const MOST = 1000;

/** So much may come of any input, in bytes: 16 MiB. */
const FREE = 16 << 20;

/** The reason of a refusal. */
export const EXPANDS = "it expands more than a thousandfold";

/** Counts what goes in and out of a decompressor. */
export class Expansion {
  #read = 0;
  #written = 0;

  /** Counts the bytes that `read` returns. */
  reading(read: () => Bytes): () => Bytes {
    return () => {
      const bytes = read();
      this.#read += bytes.length;
      return bytes;
    };
  }

  /** Counts the bytes for `write`, which gets none beyond the bound. */
  writing(write: (bytes: Bytes) => void): (bytes: Bytes) => void {
    return (bytes) => {
      this.#written += bytes.length;
      if (this.#written > FREE + MOST * this.#read) throw new Error(EXPANDS);
      write(bytes);
    };
  }
}
