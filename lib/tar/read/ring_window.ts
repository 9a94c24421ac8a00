/**
 * The window of a tar that another thread decompresses: what it has written to the ring is parsed,
 * and written to files, where it lies.
 *
 * @module
 */
import type { ByteRing } from "../../base/byte_ring.ts";
import { WAITING_STEP, Window } from "./window.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Blocks of the tar begin at multiples of their size in the ring as well, so none is cut by its end. */
export class RingWindow extends Window {
  readonly #ring: ByteRing;
  readonly #onEnd: () => void;
  readonly #onWaiting: ((position: number) => void) | undefined;
  #hash: ((bytes: Bytes) => void) | undefined;
  #hasEnded = false;

  /**
   * @param ring this window's alone to read
   * @param onEnd called when the stream ends: throws if that is not its true end
   * @param onWaiting called each second in which nothing comes, with the bytes so far
   */
  constructor(ring: ByteRing, onEnd: () => void, onWaiting?: (position: number) => void) {
    // Shared memory is read like other memory; only the runtime's types exclude it.
    super(ring.bytes as Uint8Array as Bytes);
    this.#ring = ring;
    this.#onEnd = onEnd;
    this.#onWaiting = onWaiting;
  }

  protected readMore(): boolean {
    const ring = this.#ring, { position } = this, have = this.end - this.at;
    ring.release(position);
    if (!this.#await(position + have)) {
      this.#hasEnded = true;
      this.#onEnd();
      return false;
    }
    this.at = position % this.bytes.length;
    const begin = this.end = this.at + have;
    this.end += ring.available(position + have);
    this.#hash?.(this.bytes.subarray(begin, this.end));
    return true;
  }

  /** Waits for a byte; false if there are no more. */
  #await(position: number): boolean {
    for (;;) {
      const arrival = this.#ring.waitFor(position, this.#onWaiting && WAITING_STEP);
      if (arrival !== "nothing yet") return arrival === "more";
      this.#onWaiting?.(position);
    }
  }

  override seek(position: number): void {
    throw new RangeError(`a stream at ${this.position} cannot go to ${position}`);
  }

  /** The bytes are hashed when they come. */
  hashing(update: (bytes: Bytes) => void): () => boolean {
    this.#hash = update;
    update(this.bytes.subarray(this.at, this.end));
    return () => this.#hasEnded;
  }
}
