/**
 * Waiting in synchronous code.
 *
 * @module
 */

const never = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the calling thread for some milliseconds. */
export function sleep(milliseconds: number): void {
  Atomics.wait(never, 0, 0, milliseconds);
}
