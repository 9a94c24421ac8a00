/**
 * The space maps of a pool: how many references each block has. Those of data are counted while the
 * mappings are written; each block of metadata has one.
 *
 * ```text
 * bitmaps          two bits for a block: 0, 1 or 2 references, or 3 if the tree has their number
 * index            an entry for each bitmap: of data a B-tree, of metadata one block
 * reference counts a B-tree, of the blocks with three references or more
 * ```
 *
 * The layout is that of drivers/md/persistent-data/dm-space-map-common.h of the kernel.
 *
 * @module
 */
import { VeneerError } from "../../../lib/base/errors.ts";
import { METADATA_BLOCK_SIZE } from "../pool.ts";
import { BITMAP, type BlockWriter, INDEX, setNumber } from "./blocks.ts";
import { TreeBuilder, wordsOf } from "./tree.ts";

/** `struct disk_bitmap_header` is before the bits, and `struct disk_metadata_index` begins alike. */
const HEADER = 16;

/** The bytes of one bitmap, and its blocks. */
const BITMAP_BYTES = METADATA_BLOCK_SIZE - HEADER, BLOCKS = 4 * BITMAP_BYTES;

/** `struct disk_index_entry`. */
const INDEX_ENTRY = 16;

/** The most blocks of metadata: `MAX_METADATA_BITMAPS` bitmaps. */
export const MOST_METADATA = 255 * BLOCKS;

/** The most blocks with three references or more, which are kept in memory. */
const MOST_SHARED = 1 << 23;

/** The bits of 0, 1, 2 and more references: the higher bit comes first. */
const BITS = [0b00, 0b10, 0b01, 0b11];

/** `struct disk_sm_root`, for the superblock. */
export interface SpaceMapRoot {
  readonly blocks: number;
  readonly allocated: number;
  readonly index: number;
  readonly counts: number;
}

/** Writes a root into the superblock. */
export function setSpaceMap(view: DataView, at: number, root: SpaceMapRoot): void {
  const { blocks, allocated, index, counts } = root;
  for (const [i, number] of [blocks, allocated, index, counts].entries()) {
    setNumber(view, at + 8 * i, number);
  }
}

/** The references to the blocks of data. */
export class DataCounts {
  readonly #bits: Uint8Array;
  readonly #shared = new Map<number, number>();
  #allocated = 0;

  constructor(readonly blocks: number) {
    this.#bits = new Uint8Array(Math.ceil(blocks / BLOCKS) * BITMAP_BYTES);
  }

  /** Counts one more reference to a block. */
  add(block: number): void {
    const at = Math.floor(block / 4), shift = 2 * (block % 4);
    const count = BITS.indexOf(this.#bits[at] >> shift & 3);
    if (count === 0) this.#allocated++;
    if (count >= 2) {
      if (this.#shared.size >= MOST_SHARED) {
        throw new VeneerError("limit exceeded", "the dump has too many blocks that devices share");
      }
      this.#shared.set(block, (this.#shared.get(block) ?? 2) + 1);
    }
    if (count < 3) this.#bits[at] = this.#bits[at] & ~(3 << shift) | BITS[count + 1] << shift;
  }

  /** Writes the space map; returns its root. */
  write(writer: BlockWriter): SpaceMapRoot {
    const index = new TreeBuilder(writer, 4), counts = new TreeBuilder(writer, 1);
    for (let i = 0; i * BITMAP_BYTES < this.#bits.length; i++) {
      const bits = this.#bits.subarray(i * BITMAP_BYTES, (i + 1) * BITMAP_BYTES);
      const block = writer.write(BITMAP, (_, bytes) => bytes.set(bits, HEADER));
      index.add(i, ...wordsOf(block), BLOCKS - used(bits), 0);
    }
    for (const block of Float64Array.from(this.#shared.keys()).sort()) {
      counts.add(block, this.#shared.get(block)!);
    }
    return {
      blocks: this.blocks,
      allocated: this.#allocated,
      index: index.finish(),
      counts: counts.finish(),
    };
  }
}

/** Writes the space map of the metadata, after everything but the superblock; returns its root. */
export function writeMetadataMap(writer: BlockWriter, blocks: number): SpaceMapRoot {
  const counts = new TreeBuilder(writer, 1).finish();
  const bitmaps = Math.ceil(blocks / BLOCKS), allocated = writer.next + bitmaps + 1;
  const entries: [block: number, used: number][] = [];
  for (let i = 0; i < bitmaps; i++) {
    const used = Math.max(0, Math.min(BLOCKS, allocated - i * BLOCKS));
    const block = writer.write(BITMAP, (_, bytes) => {
      for (let n = 0; n < used; n++) bytes[HEADER + (n >>> 2)] |= BITS[1] << 2 * (n & 3);
    });
    entries.push([block, used]);
  }
  const index = writer.write(INDEX, (view) => {
    for (const [i, [block, used]] of entries.entries()) {
      const at = HEADER + i * INDEX_ENTRY;
      setNumber(view, at, block);
      view.setUint32(at + 8, BLOCKS - used, true);
    }
  });
  return { blocks, allocated, index, counts };
}

/** The number of blocks with references in a bitmap. */
function used(bits: Uint8Array): number {
  let count = 0;
  for (const byte of bits) {
    for (let shift = 0; shift < 8; shift += 2) if ((byte >> shift & 3) !== 0) count++;
  }
  return count;
}
