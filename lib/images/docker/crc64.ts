/**
 * CRC-64 of ISO 3309, which Docker records for each file of a layer: reflected, with the polynomial
 * x⁶⁴ + x⁴ + x³ + x + 1, in two halves of 32 bits.
 *
 * @module
 */

/** The polynomial's upper half; the lower one is 0. */
const POLYNOMIAL = 0xd8000000;

const HIGH = new Uint32Array(256), LOW = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let high = 0, low = i;
  for (let bit = 0; bit < 8; bit++) {
    const isOdd = (low & 1) === 1;
    low = (low >>> 1 | high << 31) >>> 0;
    high = ((high >>> 1) ^ (isOdd ? POLYNOMIAL : 0)) >>> 0;
  }
  HIGH[i] = high;
  LOW[i] = low;
}

/** A checksum over pieces of content. */
export class Crc64 {
  #high = 0xffffffff;
  #low = 0xffffffff;

  update(bytes: Uint8Array): void {
    let high = this.#high, low = this.#low;
    for (let i = 0; i < bytes.length; i++) {
      const index = (low ^ bytes[i]) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ LOW[index];
      high = (high >>> 8) ^ HIGH[index];
    }
    this.#high = high >>> 0;
    this.#low = low >>> 0;
  }

  /** The checksum in 16 hexadecimal digits. */
  get hex(): string {
    const digits = (half: number) => (~half >>> 0).toString(16).padStart(8, "0");
    return digits(this.#high) + digits(this.#low);
  }
}
