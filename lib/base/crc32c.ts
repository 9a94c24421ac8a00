/**
 * CRC-32C (Castagnoli), the checksum of the kernel's persistent metadata.
 *
 * @module
 */

/** The polynomial 0x1EDC6F41 with its bits in reverse. */
const POLYNOMIAL = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? value >>> 1 ^ POLYNOMIAL : value >>> 1;
  return value;
});

/**
 * Returns the CRC of some bytes, without the final inversion, as the kernel's `crc32c(~0, …)`
 * returns it.
 */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]) & 0xff] ^ crc >>> 8;
  return crc >>> 0;
}
