/**
 * Finds the frames of a zstd stream, without decompressing anything.
 *
 * A stream is frames one after another, data and skippable ones (every parallel or seekable
 * compressor writes many). The runtime's decompressor stops after the first and takes a frame that
 * is cut short for a whole one, so each frame is delimited here and decompressed by itself.
 *
 * Source: RFC 8878, section 3.1.
 *
 * @module
 */

const MAGIC = 0xfd2fb528;
/** To 0x184D2A5F. */
const SKIPPABLE_MAGIC = 0x184d2a50;
const CHECKSUM_SIZE = 4;
const BLOCK_HEADER_SIZE = 3;
const RAW_OR_COMPRESSED = [0, 2], RUN = 1;

type Bytes = Uint8Array<ArrayBuffer>;

/** The frames of the bytes that a function reads. */
export class ZstdFrames {
  readonly #read: () => Bytes;
  #chunk: Bytes = new Uint8Array();

  /** @param read returns the next bytes, none at the end */
  constructor(read: () => Bytes) {
    this.#read = read;
  }

  /**
   * Skips to the next frame that has data; false at the end. Throws if something else than a frame
   * follows.
   */
  next(): boolean {
    while (this.#fill()) {
      const magic = u32(this.#peek(4), 0);
      if (magic === MAGIC) {
        if (!this.#skipEmpty()) return true;
        continue;
      }
      if ((magic & 0xfffffff0) >>> 0 !== SKIPPABLE_MAGIC) {
        throw new Error("the data behind a frame is not a frame");
      }
      const size = u32(this.#take(8), 4);
      for (const _ of this.#pieces(size));
    }
    return false;
  }

  /**
   * Skips a frame of a single block of nothing: a decompressor for it would cost 60 µs, and there
   * may be millions.
   */
  #skipEmpty(): boolean {
    const size = this.#headerSize();
    const word = u24(this.#peek(size + BLOCK_HEADER_SIZE), size);
    const isEmpty = word === 1;
    if (!isEmpty) return false;
    const hasChecksum = (this.#peek(5)[4] & 4) !== 0;
    this.#take(size + BLOCK_HEADER_SIZE + (hasChecksum ? CHECKSUM_SIZE : 0));
    return true;
  }

  /** The size of the frame header that comes next. */
  #headerSize(): number {
    const descriptor = this.#peek(5)[4];
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const dictionary = [0, 1, 2, 4][descriptor & 3];
    const contentSize = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6];
    return 5 + (isSingleSegment ? 0 : 1) + dictionary + contentSize;
  }

  /** The bytes of the data frame that {@linkcode next} found, piece by piece. */
  *frame(): Generator<Bytes> {
    const descriptor = this.#peek(5)[4];
    yield this.#take(this.#headerSize());
    for (let isLast = false; !isLast;) {
      const header = this.#take(BLOCK_HEADER_SIZE);
      const word = u24(header, 0);
      isLast = (word & 1) === 1;
      const type = word >> 1 & 3;
      if (type !== RUN && !RAW_OR_COMPRESSED.includes(type)) {
        throw new Error("a block of an unknown type");
      }
      yield header;
      yield* this.#pieces(type === RUN ? 1 : word >> 3);
    }
    if (descriptor & 4) yield this.#take(CHECKSUM_SIZE);
  }

  /** Makes a byte available, unless this is the end. */
  #fill(): boolean {
    if (this.#chunk.length === 0) this.#chunk = this.#read();
    return this.#chunk.length > 0;
  }

  /** The next `count` bytes, which stay next. */
  #peek(count: number): Bytes {
    while (this.#chunk.length < count) {
      const more = this.#read();
      if (more.length === 0) throw new Error("it ends inside a frame");
      const both = new Uint8Array(this.#chunk.length + more.length);
      both.set(this.#chunk);
      both.set(more, this.#chunk.length);
      this.#chunk = both;
    }
    return this.#chunk.subarray(0, count);
  }

  #take(count: number): Bytes {
    const bytes = this.#peek(count);
    this.#chunk = this.#chunk.subarray(count);
    return bytes;
  }

  /** The next `count` bytes as they come. */
  *#pieces(count: number): Generator<Bytes> {
    while (count > 0) {
      if (!this.#fill()) throw new Error("it ends inside a frame");
      const piece = this.#chunk.subarray(0, count);
      this.#chunk = this.#chunk.subarray(piece.length);
      count -= piece.length;
      yield piece;
    }
  }
}

function u24(bytes: Bytes, at: number): number {
  return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16;
}

function u32(bytes: Bytes, at: number): number {
  return (bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24) >>> 0;
}
