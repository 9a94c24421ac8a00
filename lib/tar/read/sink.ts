/**
 * Where a decompressor's plain bytes go.
 *
 * @module
 */
import type { ByteRing } from "../../base/byte_ring.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Memory that is filled piece by piece. */
export interface Sink {
  readonly memory: Bytes;
  /** The offset in the memory at which the next piece begins. */
  readonly at: number;
  /**
   * Waits for room.
   *
   * @returns the offset in the memory of its end, which is behind {@linkcode at}
   * @throws {Error} if nobody takes the bytes any more
   */
  room(): number;
  /** Takes the bytes of the memory from {@linkcode at} to `end`. */
  put(end: number): void;
  /** Takes bytes that lie elsewhere, which are its own only until it returns. */
  write(bytes: Bytes): void;
}

/** Hands each piece to a function. */
export class WritingSink implements Sink {
  readonly at = 0;

  /**
   * @param memory holds a piece
   * @param write may use a piece until it returns
   */
  constructor(readonly memory: Bytes, readonly write: (bytes: Bytes) => void) {}

  room(): number {
    return this.memory.length;
  }

  put(end: number): void {
    this.write(this.memory.subarray(0, end));
  }
}

/** Fills a ring, from which another thread reads. */
export class RingSink implements Sink {
  readonly memory: Bytes;
  readonly #ring: ByteRing;

  constructor(ring: ByteRing) {
    this.#ring = ring;
    // Shared memory is filled like other memory; only the runtime's types exclude it.
    this.memory = ring.bytes as Uint8Array as Bytes;
  }

  get at(): number {
    return this.#ring.writeAt;
  }

  room(): number {
    const count = this.#ring.room();
    if (count === 0) throw new Error("it was stopped");
    return this.at + count;
  }

  put(end: number): void {
    this.#ring.wrote(end - this.at);
  }

  write(bytes: Bytes): void {
    for (let rest = bytes; rest.length > 0;) {
      const end = this.room(), part = rest.subarray(0, end - this.at);
      this.memory.set(part, this.at);
      this.put(this.at + part.length);
      rest = rest.subarray(part.length);
    }
  }
}
