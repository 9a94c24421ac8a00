/**
 * Writes blocks of a pool's metadata one after the other, each with its number and checksum.
 *
 * @module
 */
import { pwriteAll } from "../../../ffi/files.ts";
import { crc32c } from "../../../lib/base/crc32c.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { METADATA_BLOCK_SIZE } from "../pool.ts";
import { BLOCK_AT } from "../thin_format.ts";

/**
 * Each kind of block, by the constant of its checksum: `*_CSUM_XOR` of the kernel's
 * drivers/md/persistent-data and dm-thin-metadata.c.
 */
export const NODE = 121107, BITMAP = 240779, INDEX = 160478, SUPERBLOCK = 160774;

/** The number of blocks that are written together. */
const BATCH = 64;

/** The writer of one pool's metadata. Block 0 is left for the superblock. */
export class BlockWriter {
  readonly #bytes = new Uint8Array(BATCH * METADATA_BLOCK_SIZE);
  #first = 1;
  #count = 0;

  /**
   * @param fd the file or device, open for writing
   * @param size the number of blocks that there may be
   */
  constructor(readonly fd: number, readonly size: number) {}

  /** The number of the next block. */
  get next(): number {
    return this.#first + this.#count;
  }

  /**
   * Writes a block; returns its number.
   *
   * @param kind one of the constants above
   * @param fill gets the block, which is all zero
   * @throws {VeneerError} `limit exceeded` if the metadata is full
   */
  write(kind: number, fill: (view: DataView, bytes: Uint8Array) => void): number {
    const number = this.next;
    if (number >= this.size) {
      throw new VeneerError(
        "limit exceeded",
        `the metadata of this dump needs more than ${this.size} blocks of 4 KiB, and there are no more`,
      );
    }
    const start = this.#count * METADATA_BLOCK_SIZE;
    const bytes = this.#bytes.subarray(start, start + METADATA_BLOCK_SIZE).fill(0);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    fill(view, bytes);
    seal(kind, number, view, bytes);
    if (++this.#count === BATCH) this.flush();
    return number;
  }

  /** Writes the blocks that are not written yet. */
  flush(): void {
    const length = this.#count * METADATA_BLOCK_SIZE;
    if (length === 0) return;
    pwriteAll(this.fd, this.#bytes.subarray(0, length), BigInt(this.#first * METADATA_BLOCK_SIZE));
    this.#first += this.#count;
    this.#count = 0;
  }

  /** Writes the superblock; everything else is written before it. */
  writeSuperblock(fill: (view: DataView) => void): void {
    this.flush();
    const bytes = new Uint8Array(METADATA_BLOCK_SIZE), view = new DataView(bytes.buffer);
    fill(view);
    seal(SUPERBLOCK, 0, view, bytes);
    pwriteAll(this.fd, bytes, 0n);
  }
}

/** Sets a block's number and its checksum, which is in its first four bytes. */
function seal(kind: number, number: number, view: DataView, bytes: Uint8Array): void {
  setNumber(view, BLOCK_AT, number);
  view.setUint32(0, (crc32c(bytes.subarray(4)) ^ kind) >>> 0, true);
}

/** Writes a number below 2^53 as 64 bits. */
export function setNumber(view: DataView, at: number, number: number): void {
  view.setUint32(at, number >>> 0, true);
  view.setUint32(at + 4, Math.floor(number / 2 ** 32), true);
}
