/**
 * Limits on clients of the HTTP/2 server. Honest gRPC clients stay far below all of them.
 *
 * @module
 */

/** Sizes in bytes, times in milliseconds. */
export const LIMITS = {
  /** The most open streams of a connection. */
  streams: 100,
  /** The size of a decoded header list, with 32 bytes for each field (RFC 9113, 6.5.2). */
  headerList: 64 << 10,
  /** The size of an encoded header block. A longer one ends the connection. */
  headerBlock: 64 << 10,
  /** The most CONTINUATION frames of a header block. */
  continuations: 8,
  /** The windows: the bytes that a client may send ahead on a stream, and on the connection. */
  streamWindow: 256 << 10,
  connectionWindow: 1 << 20,
  /**
   * The output that may wait for the socket. If more waits, nothing is read, so that answers do not
   * accumulate.
   */
  output: 256 << 10,
  /** The most streams that end early by a client's will or by its errors, within a time. */
  resets: 1000,
  resetsTime: 10_000,
  /**
   * The number of other useless acts that a client is allowed: pings, settings, empty data. Each
   * answer and each second gives some of them back.
   */
  patience: 2000,
  patiencePerAnswer: 20,
  patiencePerSecond: 100,
  /** The time for the preface and the first settings, and for completing a header block. */
  handshakeTime: 10_000,
  /** The time for completing a request. */
  requestTime: 60_000,
  /** The time for which a client may read none of its answers. */
  stallTime: 60_000,
} as const;

/** Counts the useless acts that are still tolerated. */
export class Patience {
  #left: number = LIMITS.patience;
  #since = performance.now();

  /** Spends one; returns false if none is left. */
  spend(): boolean {
    const now = performance.now();
    this.#restore((now - this.#since) * LIMITS.patiencePerSecond / 1000);
    this.#since = now;
    return --this.#left >= 0;
  }

  /** To be called when an answer was sent. */
  reward(): void {
    this.#restore(LIMITS.patiencePerAnswer);
  }

  #restore(amount: number): void {
    this.#left = Math.min(LIMITS.patience, this.#left + amount);
  }
}

/** The times at which the last streams ended early. */
export class Resets {
  readonly #times = new Float64Array(LIMITS.resets).fill(-Infinity);
  #next = 0;

  /** Counts one; returns false if there were too many in too short a time. */
  count(now = performance.now()): boolean {
    const oldest = this.#times[this.#next];
    this.#times[this.#next] = now;
    this.#next = (this.#next + 1) % LIMITS.resets;
    return now - oldest >= LIMITS.resetsTime;
  }
}
