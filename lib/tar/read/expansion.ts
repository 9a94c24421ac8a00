/**
 * The bound of what compressed input may become, which keeps a small file from filling a disk.
 *
 * @module
 */
import type { Sink } from "./sink.ts";

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

  /** Counts the bytes that `read` reads. */
  reading(read: (memory: Bytes) => number): (memory: Bytes) => number {
    return (memory) => {
      const got = read(memory);
      this.#read += got;
      return got;
    };
  }

  /** Counts the bytes for a sink, which gets none beyond the bound. */
  bounding(sink: Sink): Sink {
    const count = (bytes: number) => this.#count(bytes);
    return {
      memory: sink.memory,
      get at() {
        return sink.at;
      },
      room: () => sink.room(),
      put(end) {
        count(end - sink.at);
        sink.put(end);
      },
      write(bytes) {
        count(bytes.length);
        sink.write(bytes);
      },
    };
  }

  #count(bytes: number): void {
    this.#written += bytes;
    if (this.#written > FREE + MOST * this.#read) throw new Error(EXPANDS);
  }
}
