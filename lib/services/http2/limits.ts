/**
 * Limits on clients of the HTTP/2 server. An honest gRPC client comes near none of them.
 *
 * @module
 */

/** Sizes in bytes, times in milliseconds. */
export const LIMITS = {
  /** Streams that are open at a time, of one connection. */
  streams: 100,
  /** Of a decoded header list, with 32 bytes for each field (RFC 9113, 6.5.2). */
  headerList: 64 << 10,
  /** Of an encoded header block; one that is longer ends the connection. */
  headerBlock: 64 << 10,
  /** CONTINUATION frames of one header block. */
  continuations: 8,
  /** The windows: the bytes that a client may send ahead on a stream, and on the connection. */
  streamWindow: 256 << 10,
  connectionWindow: 1 << 20,
  /**
   * Output that waits for the socket; beyond it nothing more is read, so that no answers pile up.
   */
  output: 256 << 10,
  /** Streams that a client may end early, or have ended by its faults, in a time. */
  resets: 1000,
  resetsTime: 10_000,
  /**
   * How often a client may do something else that is allowed and serves nothing: send a ping,
   * settings, empty data. Each answer gives some back, and each second too.
   */
  patience: 2000,
  patiencePerAnswer: 20,
  patiencePerSecond: 100,
  /** For the preface and the first settings, and for a header block that was begun. */
  handshakeTime: 10_000,
  /** For a request that was begun. */
  requestTime: 60_000,
  /** For a client that does not read its answers. */
  stallTime: 60_000,
} as const;

/** The number of acts that serve nothing and are still tolerated. */
export class Patience {
  #left: number = LIMITS.patience;
  #since = performance.now();

  /** Spends one; false if none is left. */
  spend(): boolean {
    const now = performance.now();
    this.#restore((now - this.#since) * LIMITS.patiencePerSecond / 1000);
    this.#since = now;
    return --this.#left >= 0;
  }

  /** An answer was sent. */
  reward(): void {
    this.#restore(LIMITS.patiencePerAnswer);
  }

  #restore(amount: number): void {
    this.#left = Math.min(LIMITS.patience, this.#left + amount);
  }
}

/** Streams that ended early: when the last of them did. */
export class Resets {
  readonly #times = new Float64Array(LIMITS.resets).fill(-Infinity);
  #next = 0;

  /** Counts one; false if there were too many in too short a time. */
  count(now = performance.now()): boolean {
    const oldest = this.#times[this.#next];
    this.#times[this.#next] = now;
    this.#next = (this.#next + 1) % LIMITS.resets;
    return now - oldest >= LIMITS.resetsTime;
  }
}
