/**
 * The layout of a pool's metadata: offsets in its blocks, in bytes, and constants. All numbers are
 * little-endian.
 *
 * It is that of `drivers/md/dm-thin-metadata.c` and `persistent-data/dm-btree-internal.h` of the
 * kernel.
 *
 * @module
 */

/** Each block has its checksum at its beginning, and here its number, of 64 bits. */
export const BLOCK_AT = 8;

/** `struct thin_disk_superblock`, and the version that the kernel writes. */
export const MAGIC_AT = 32,
  VERSION_AT = 40,
  TIME_AT = 44,
  TRANSACTION_ID_AT = 48,
  HELD_ROOT_AT = 56,
  DATA_MAP_AT = 64,
  METADATA_MAP_AT = 192,
  MAPPING_AT = 320,
  DETAILS_AT = 328,
  DATA_BLOCK_SIZE_AT = 336,
  METADATA_BLOCK_SIZE_AT = 340,
  METADATA_BLOCKS_AT = 344;
export const MAGIC = 27022010, VERSION = 2;

/** `struct node_header`, and `enum node_flags`; keys follow it. */
export const FLAGS_AT = 4,
  ENTRIES_AT = 16,
  MAX_ENTRIES_AT = 20,
  VALUE_SIZE_AT = 24,
  KEYS_AT = 32;
export const INTERNAL = 1, LEAF = 2;
