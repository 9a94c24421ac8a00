/**
 * Bytes as services pass them on.
 *
 * @module
 */

/** Bytes that may be written and handed over. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Puts parts together, in a copy. */
export function joined(parts: readonly Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
