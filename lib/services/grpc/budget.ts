/**
 * Limits the memory for requests that are being received.
 *
 * @module
 */

/** A limited amount of memory. */
export class Budget {
  #left: number;

  /**
   * @param bytes the amount
   * @param a larger budget, from which each amount is taken as well
   */
  constructor(bytes: number, private readonly of?: Budget) {
    this.#left = bytes;
  }

  /** Takes an amount; returns false if less is left. */
  take(bytes: number): boolean {
    if (bytes > this.#left || this.of?.take(bytes) === false) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
    this.of?.give(bytes);
  }
}
