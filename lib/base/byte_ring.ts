/**
 * A stream of bytes from one thread to another through memory that both share: the writer puts them
 * where the reader looks at them, so that no call of the kernel's copies them.
 *
 * Each end waits for the other in `Atomics.wait`, the writer while the ring is full. Positions are
 * counted modulo 2^32, of which the ring's size is a divisor.
 *
 * @module
 */

// Words of the memory.
/** Bytes written, ever. */
const WRITTEN = 0;
/** Bytes that the reader needs no more, ever. */
const READ = 1;
/** 1 when no more will be written. */
const ENDED = 2;
/** 1 when no more will be read. */
const CLOSED = 3;
/** The words that the reader and the writer wait on: each changes with every step of the other. */
const WRITES = 4;
const READS = 5;
const WORDS = 16;

const HEAD_BYTES = 4 * WORDS;

/** How many bytes are in flight at most: 1 MiB, as in the largest pipe. */
export const RING_BYTES = 1 << 20;

/** The most bytes that one end holds at a time, so that the other one can go on. */
const PIECE = 256 << 10;

/** The result of a reader's wait. */
export type Arrival = "more" | "ended" | "nothing yet";

/** One end of a ring; each thread has an object of its own over the same memory. */
export class ByteRing {
  readonly #words: Int32Array<SharedArrayBuffer>;
  /** The bytes: that at position `p` lies at `p` modulo {@linkcode RING_BYTES}. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;

  /** @param buffer the memory of the other end's object */
  constructor(readonly buffer = new SharedArrayBuffer(HEAD_BYTES + RING_BYTES)) {
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.bytes = new Uint8Array(buffer, HEAD_BYTES, RING_BYTES);
  }

  // For the writer.

  /** Where in {@linkcode bytes} the next one is written. */
  get writeAt(): number {
    return this.#words[WRITTEN] & (RING_BYTES - 1);
  }

  /** Waits for room; returns how many bytes there is room for in one piece, 0 if it was closed. */
  room(): number {
    const words = this.#words;
    for (;;) {
      const signal = Atomics.load(words, READS);
      if (Atomics.load(words, CLOSED) === 1) return 0;
      const free = RING_BYTES - (words[WRITTEN] - Atomics.load(words, READ) >>> 0);
      if (free > 0) return Math.min(free, PIECE, RING_BYTES - this.writeAt);
      Atomics.wait(words, READS, signal);
    }
  }

  /** Hands over so many bytes, which lie from {@linkcode writeAt} on. */
  wrote(count: number): void {
    Atomics.add(this.#words, WRITTEN, count);
    this.#wake(WRITES);
  }

  /** Ends the stream. */
  end(): void {
    Atomics.store(this.#words, ENDED, 1);
    this.#wake(WRITES);
  }

  // For the reader.

  /** How many bytes can be read in one piece from a position on, at most the end of what has come. */
  available(position: number): number {
    const written = Atomics.load(this.#words, WRITTEN) - position >>> 0;
    return Math.min(written, PIECE, RING_BYTES - position % RING_BYTES);
  }

  /**
   * Waits until there is a byte at a position, at most so many milliseconds.
   *
   * @param position the end of the bytes that are known to have come
   */
  waitFor(position: number, milliseconds = Infinity): Arrival {
    const words = this.#words;
    for (;;) {
      const signal = Atomics.load(words, WRITES), isEnded = Atomics.load(words, ENDED) === 1;
      if (this.available(position) > 0) return "more";
      if (isEnded) return "ended";
      if (Atomics.wait(words, WRITES, signal, milliseconds) === "timed-out") return "nothing yet";
    }
  }

  /** Gives the room of all bytes before a position back to the writer. */
  release(position: number): void {
    if ((position | 0) === this.#words[READ]) return;
    Atomics.store(this.#words, READ, position | 0);
    this.#wake(READS);
  }

  /** Ends the reading: the writer need not go on. */
  close(): void {
    Atomics.store(this.#words, CLOSED, 1);
    this.#wake(READS);
  }

  #wake(word: typeof WRITES | typeof READS): void {
    Atomics.add(this.#words, word, 1);
    Atomics.notify(this.#words, word);
  }
}
