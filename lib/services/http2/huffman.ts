/**
 * Decodes the Huffman code of HPACK (RFC 7541, appendix B). There is no encoder, because this
 * server writes strings without compression.
 *
 * The code is canonical: codes of one length are consecutive, in the order of their symbols. So the
 * lengths define the code, and a code is recognised by comparing it with the first code of its
 * length.
 *
 * @module
 */

/** The length in bits of each octet's code. */
// deno-fmt-ignore
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
   6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,  5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
  13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
  15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/**
 * The length in bits of the longest code. The code of the end of a string is 30 ones, which no
 * valid string contains.
 */
const LONGEST = 30;

/** The symbols in the order of their codes: by length, then by value. */
const SYMBOLS = Uint8Array.from(
  LENGTHS.map((_, symbol) => symbol).sort((a, b) => LENGTHS[a] - LENGTHS[b] || a - b),
);

/**
 * For each length: the first code, the number of codes, and the index of the first code's symbol.
 */
const FIRST = new Int32Array(LONGEST + 1);
const COUNT = new Int32Array(LONGEST + 1);
const INDEX = new Int32Array(LONGEST + 1);
for (const length of LENGTHS) COUNT[length]++;
for (let length = 1; length <= LONGEST; length++) {
  FIRST[length] = (FIRST[length - 1] + COUNT[length - 1]) << 1;
  INDEX[length] = INDEX[length - 1] + COUNT[length - 1];
}

/**
 * Decodes a string, one character for each octet.
 *
 * @returns `undefined` if the input is invalid: if it contains the end's code, or if its padding is
 * not zero to seven ones
 */
export function decodeHuffman(input: Uint8Array): string | undefined {
  let text = "", code = 0, length = 0;
  for (const octet of input) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code << 1 | octet >> bit & 1;
      if (++length > LONGEST) return undefined;
      const at = code - FIRST[length];
      if (at < 0 || at >= COUNT[length]) continue;
      text += String.fromCharCode(SYMBOLS[INDEX[length] + at]);
      code = length = 0;
    }
  }
  return length < 8 && code === (1 << length) - 1 ? text : undefined;
}
