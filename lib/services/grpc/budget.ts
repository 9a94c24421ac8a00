/**
 * Memory for requests that are being received.
 *
 * @module
 */

/** An amount of memory that is shared out. */
export class Budget {
  #left: number;

  /**
   * @param bytes in all
   * @param of a larger one that this is a share of
   */
  constructor(bytes: number, private readonly of?: Budget) {
    this.#left = bytes;
  }

  /** Takes an amount; false if there is less. */
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
