/**
 * A deflate stream and its plain bytes, by which `isal.ts` tries a library: a block with codes of its
 * own, and references that reach into the output of earlier calls.
 *
 * @module
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** What zlib makes of the bytes below at level 9, as base64. */
const PACKED =
  "7dC7DcIwFIbRnikyAokficdJEQRSKlKxPciu7gycxsUn69fVOffP8Z7u03O/fu/jdR7X7extK7XXOdT1nnrNoZYy" +
  "Flqoqa1joYa85NzzUkJuc68pfm55bOQ4vbaxUeMdNY+RLR6dt21sx/NSGXfEDRYs" +
  "WLBgwYIFCxYs".repeat(120) + "WLBgwYLFv1l8AQ==";

/** The stream. */
export const KNOWN_STREAM: Bytes = Uint8Array.from(atob(PACKED), (char) => char.charCodeAt(0));

/** CRC-32 of the plain bytes. */
export const KNOWN_SUM = 0xef3a0c11;

/** The plain bytes: a few lines again and again. */
export function knownPlain(): Bytes {
  const line = (_: unknown, i: number) => `layer ${i * 7919 % 1009} has ${i * i % 97} files\n`;
  const lines = new TextEncoder().encode(Array.from({ length: 12 }, line).join(""));
  const plain = new Uint8Array(250_000);
  plain.set(lines);
  for (let size = lines.length; size < plain.length; size *= 2) plain.copyWithin(size, 0, size);
  return plain;
}
