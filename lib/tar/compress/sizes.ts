/**
 * Sizes that the threads of a compression agree on.
 *
 * @module
 */
import type { Compression } from "../read/compression.ts";

/** How far deflate looks back, in bytes (RFC 1951, 2). */
export const DICTIONARY = 32 << 10;

/**
 * The plain bytes of a block. A frame of zstd has none before it to look back to, so it is as large
 * as the window of the default level.
 */
export const BLOCK_BYTES: Readonly<Record<Compression, number>> = {
  gzip: 512 << 10,
  zstd: 2 << 20,
};
