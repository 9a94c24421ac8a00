/**
 * Builds a B-tree of a pool's metadata from its leaves upwards, out of keys in ascending order.
 *
 * Every node but the root is at least half full: the kernel joins and divides nodes on the
 * condition that none has less than a third.
 *
 * @module
 */
import { METADATA_BLOCK_SIZE } from "../pool.ts";
import {
  ENTRIES_AT,
  FLAGS_AT,
  INTERNAL,
  KEYS_AT,
  LEAF,
  MAX_ENTRIES_AT,
  VALUE_SIZE_AT,
} from "../thin_format.ts";
import { type BlockWriter, NODE, setNumber } from "./blocks.ts";

/** The most entries of a node; the kernel wants a multiple of three (`calc_max_entries`). */
const mostEntries = (valueSize: number) =>
  3 * Math.floor(Math.floor((METADATA_BLOCK_SIZE - KEYS_AT) / (8 + valueSize)) / 3);

/** A tree in the making. Its memory is two nodes for each level. */
export class TreeBuilder {
  readonly #most: number;
  readonly #keys: Float64Array;
  readonly #values: Uint32Array;
  #count = 0;
  #above: TreeBuilder | undefined;

  /** @param words the size of a value, in words of 32 bits */
  constructor(
    readonly blocks: BlockWriter,
    readonly words: number,
    readonly flags: number = LEAF,
  ) {
    this.#most = mostEntries(4 * words);
    this.#keys = new Float64Array(2 * this.#most);
    this.#values = new Uint32Array(2 * this.#most * words);
  }

  /** Adds an entry. Its key is above all others, and below 2^53; its value is these words. */
  add(key: number, ...value: number[]): void {
    this.#keys[this.#count] = key;
    this.#values.set(value, this.#count * this.words);
    if (++this.#count === 2 * this.#most) this.#emit(this.#most);
  }

  /** Ends the tree; returns the block of its root. */
  finish(): number {
    if (this.#above === undefined && this.#count <= this.#most) return this.#write(this.#count);
    if (this.#count > this.#most) this.#emit(this.#count >>> 1);
    this.#emit(this.#count);
    return this.#above!.finish();
  }

  /** Writes the first entries as a node, and adds it to the level above. */
  #emit(count: number): void {
    const key = this.#keys[0], block = this.#write(count);
    this.#above ??= new TreeBuilder(this.blocks, 2, INTERNAL);
    this.#above.add(key, ...wordsOf(block));
    this.#keys.copyWithin(0, count, this.#count);
    this.#values.copyWithin(0, count * this.words, this.#count * this.words);
    this.#count -= count;
  }

  #write(count: number): number {
    return this.blocks.write(NODE, (view) => {
      view.setUint32(FLAGS_AT, this.flags, true);
      view.setUint32(ENTRIES_AT, count, true);
      view.setUint32(MAX_ENTRIES_AT, this.#most, true);
      view.setUint32(VALUE_SIZE_AT, 4 * this.words, true);
      const valuesAt = KEYS_AT + 8 * this.#most;
      for (let i = 0; i < count; i++) setNumber(view, KEYS_AT + 8 * i, this.#keys[i]);
      for (let i = 0; i < count * this.words; i++) {
        view.setUint32(valuesAt + 4 * i, this.#values[i], true);
      }
    });
  }
}

/** A number below 2^53 as two words, the lower one first. */
export const wordsOf = (number: number): [number, number] => [
  number >>> 0,
  Math.floor(number / 2 ** 32),
];
