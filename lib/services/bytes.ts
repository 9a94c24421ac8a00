/**
 * Helpers for the bytes that services receive and send.
 *
 * @module
 */

/** Bytes that can be transferred to another thread. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Copies parts into one array. */
export function joined(parts: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
