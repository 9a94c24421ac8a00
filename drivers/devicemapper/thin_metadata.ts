/**
 * Reads a pool's metadata, as the kernel writes it: the blocks of each device, and their times.
 *
 * The layout (`thin_format.ts`), in blocks of 4 KiB:
 *
 * ```text
 * superblock          roots of two B-trees, by device number
 *   mapping           the root of one more tree for each device: virtual block -> data block and time
 *   details           when each device was made
 * ```
 *
 * Time is a counter, which every new snapshot in the pool increases by one. A snapshot has its
 * origin's blocks with times before its own creation time; the blocks that it was given itself have
 * that time or a later one.
 *
 * @module
 */
import { VeneerError } from "../../lib/base/errors.ts";
import { METADATA_BLOCK_SIZE } from "./pool.ts";
import {
  BLOCK_AT,
  DATA_BLOCK_SIZE_AT,
  DETAILS_AT,
  ENTRIES_AT,
  FLAGS_AT,
  HELD_ROOT_AT,
  INTERNAL,
  KEYS_AT,
  MAGIC,
  MAGIC_AT,
  MAPPING_AT,
  MAX_ENTRIES_AT,
  TRANSACTION_ID_AT,
  VALUE_SIZE_AT,
} from "./thin_format.ts";

/** Reads a block of metadata by its number. */
export type BlockReader = (block: number) => Uint8Array<ArrayBuffer>;

/** `struct disk_device_details`: its size, and the offsets of `transaction_id`, `creation_time`. */
const DETAILS_SIZE = 24, MADE_IN_AT = 8, CREATION_TIME_AT = 16;

/** A mapping is `data block << 24 | time`. */
const MAPPING_SIZE = 8, TIME_MASK = 0xffffff, TIME_BITS = 24n;

/**
 * The size of a pool's data blocks in its superblock, in sectors; `undefined` if the block is not a
 * superblock.
 */
export function dataBlockSize(superblock: DataView): number | undefined {
  if (superblock.getBigUint64(MAGIC_AT, true) !== BigInt(MAGIC)) return undefined;
  return superblock.getUint32(DATA_BLOCK_SIZE_AT, true);
}

/** The block number of the superblock. */
export const SUPERBLOCK = 0;

/** Valid trees with 64-bit keys in blocks of this size are less deep: a deeper one has a cycle. */
const MAX_DEPTH = 16;

/** The metadata at one moment. */
export class ThinMetadata {
  readonly #read: BlockReader;
  readonly #superblock: DataView;
  /** The size of a block of data, in sectors. */
  readonly dataBlockSize: number;

  /**
   * @param superblock the number of its block: such as that of the copy that a pool keeps for
   * readers
   */
  constructor(read: BlockReader, superblock: number) {
    this.#read = read;
    this.#superblock = viewOf(read(superblock));
    const size = dataBlockSize(this.#superblock);
    if (size === undefined) throw damaged(superblock, "is not a superblock");
    this.dataBlockSize = size;
  }

  /** The block of the copy for readers; 0 if there is none. */
  get heldSuperblock(): number {
    return Number(this.#superblock.getBigUint64(HELD_ROOT_AT, true));
  }

  get transactionId(): number {
    return Number(this.#superblock.getBigUint64(TRANSACTION_ID_AT, true));
  }

  /** The numbers of all devices, and for each the pool's transaction id when it was made. */
  devices(): Map<number, number> {
    const found = new Map<number, number>(), seen = new Set<number>();
    const levels = [[Number(this.#superblock.getBigUint64(DETAILS_AT, true))]];
    for (let level; (level = levels.at(-1)) !== undefined;) {
      const block = level.pop();
      if (block === undefined) {
        levels.pop();
        continue;
      }
      if (seen.has(block)) throw damaged(block, "is twice in a tree");
      seen.add(block);
      const node = this.#node(block, levels.length - 1, DETAILS_SIZE);
      const children: number[] = [];
      for (let i = 0; i < node.length; i++) {
        const value = node.value(i);
        if (node.isInternal) children.push(Number(value.getBigUint64(0, true)));
        else found.set(node.key(i), Number(value.getBigUint64(MADE_IN_AT, true)));
      }
      levels.push(children);
    }
    return found;
  }

  /** The block of data with the beginning of a device; `undefined` if none was written. */
  firstBlock(deviceId: number): bigint | undefined {
    const root = this.#find(MAPPING_AT, deviceId, MAPPING_SIZE);
    if (root === undefined) return undefined;
    const first = this.#findBelow(Number(root.getBigUint64(0, true)), 0, MAPPING_SIZE);
    return first && first.getBigUint64(0, true) >> TIME_BITS;
  }

  /**
   * The number of blocks that a device was given since it was made, without those of its origin.
   */
  ownBlocks(deviceId: number): number {
    const details = this.#find(DETAILS_AT, deviceId, DETAILS_SIZE);
    const root = this.#find(MAPPING_AT, deviceId, MAPPING_SIZE);
    if (details === undefined || root === undefined) {
      throw damaged(SUPERBLOCK, `has no device ${deviceId}`);
    }
    const made = details.getUint32(CREATION_TIME_AT, true) & TIME_MASK;
    return this.#countSince(made, Number(root.getBigUint64(0, true)), 0, new Set());
  }

  /** @param seen the tree's nodes so far: a damaged one could have a node many times */
  #countSince(time: number, block: number, depth: number, seen: Set<number>): number {
    if (seen.has(block)) throw damaged(block, "is twice in a tree");
    seen.add(block);
    const node = this.#node(block, depth, MAPPING_SIZE);
    let count = 0;
    for (let i = 0; i < node.length; i++) {
      const value = node.value(i);
      if (node.isInternal) {
        count += this.#countSince(time, Number(value.getBigUint64(0, true)), depth + 1, seen);
      } else if ((value.getUint32(0, true) & TIME_MASK) >= time) count++;
    }
    return count;
  }

  /** The value of a key in one of the superblock's trees. */
  #find(rootAt: number, key: number, valueSize: number): DataView | undefined {
    return this.#findBelow(Number(this.#superblock.getBigUint64(rootAt, true)), key, valueSize);
  }

  /** The value of a key in the tree with this root. */
  #findBelow(root: number, key: number, valueSize: number): DataView | undefined {
    let block = root;
    for (let depth = 0;; depth++) {
      const node = this.#node(block, depth, valueSize);
      const at = node.lastUpTo(key);
      if (at < 0) return undefined;
      if (!node.isInternal) return node.key(at) === key ? node.value(at) : undefined;
      block = Number(node.value(at).getBigUint64(0, true));
    }
  }

  #node(block: number, depth: number, valueSize: number): Node {
    if (depth > MAX_DEPTH) throw damaged(block, "is below itself");
    return new Node(viewOf(this.#read(block)), block, valueSize);
  }
}

/** A node of a B-tree. */
class Node {
  readonly #view: DataView;
  readonly #valuesAt: number;
  readonly #valueSize: number;
  readonly length: number;
  readonly isInternal: boolean;

  /**
   * @param leafValueSize the size of a leaf's values in bytes; those of inner nodes are block
   * numbers
   */
  constructor(view: DataView, block: number, leafValueSize: number) {
    this.#view = view;
    this.isInternal = (view.getUint32(FLAGS_AT, true) & INTERNAL) !== 0;
    this.length = view.getUint32(ENTRIES_AT, true);
    this.#valueSize = view.getUint32(VALUE_SIZE_AT, true);
    const most = view.getUint32(MAX_ENTRIES_AT, true);
    this.#valuesAt = KEYS_AT + 8 * most;
    if (
      Number(view.getBigUint64(BLOCK_AT, true)) !== block || this.length > most ||
      this.#valueSize !== (this.isInternal ? 8 : leafValueSize) ||
      this.#valuesAt + most * this.#valueSize > view.byteLength
    ) throw damaged(block, "is not a node of a tree");
  }

  key(i: number): number {
    return Number(this.#view.getBigUint64(KEYS_AT + 8 * i, true));
  }

  value(i: number): DataView {
    const at = this.#valuesAt + i * this.#valueSize;
    return new DataView(this.#view.buffer, this.#view.byteOffset + at, this.#valueSize);
  }

  /**
   * The index of the last entry whose key is not above the given one; -1 if all keys are above it.
   */
  lastUpTo(key: number): number {
    let [low, high] = [0, this.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.key(middle) <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView {
  if (bytes.length !== METADATA_BLOCK_SIZE) {
    throw new VeneerError("failed", "the pool's metadata is shorter than its superblock states");
  }
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function damaged(block: number, what: string): VeneerError {
  return new VeneerError(
    "failed",
    `block ${block} of the pool's metadata ${what}; look at it with thin_check`,
  );
}
