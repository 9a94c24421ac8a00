/**
 * The members of a gzip stream, inflated by ISA-L: headers and trailers are read here.
 *
 * It accepts and refuses what the runtime's decompressor does: members follow one another, a zero
 * byte behind one ends the stream (writers pad with zeros), and other bytes there are an error. One
 * thing more is accepted: a block with a code that leaves some bits without a meaning, if the block
 * does not have such bits. Its bytes are then proven by the trailer's checksum.
 *
 * Source: RFC 1952, section 2.3; the words of errors are zlib's.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { type DeflateStream, HEADROOM } from "../../../ffi/isal.ts";
import type { Sink } from "./sink.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The first bytes, little-endian, and the only method. */
const MAGIC = 0x8b1f, DEFLATE = 8;
/** Flags of a header. */
const HEADER_SUM = 2, EXTRA = 4, NAME = 8, COMMENT = 16, UNKNOWN = 0xe0;
/** A header's bytes from its flags on: time of change (4), flags of deflate, system. */
const UNUSED_SIZE = 6;

const CUT = "unexpected end of file";

/** Inflates one stream. */
export class GzipMembers {
  readonly #deflate: DeflateStream;
  readonly #input: Bytes;
  readonly #read: (memory: Bytes) => number;
  readonly #sink: Sink;
  /** Bytes `[at, end)` of the input memory are still to be read. */
  #at = 0;
  #end = 0;
  /** Bytes up to here are filled in the sink's memory, and not put yet. */
  #filled: number;
  /** The end of the room there; the same if none was asked for. */
  #limit: number;
  /** CRC-32 of a header that has one; `undefined` outside. */
  #headerSum: number | undefined;

  /**
   * @param deflate inflates from the input to the sink's memory
   * @param input memory for {@linkcode HEADROOM} bytes, and compressed data behind them
   * @param read puts the next bytes into some memory and returns how many, 0 at the end
   * @param sink takes the plain bytes
   */
  constructor(
    deflate: DeflateStream,
    input: Bytes,
    read: (memory: Bytes) => number,
    sink: Sink,
  ) {
    this.#deflate = deflate;
    this.#input = input;
    this.#read = read;
    this.#sink = sink;
    this.#filled = this.#limit = sink.at;
  }

  /**
   * Reads to the end of the stream.
   *
   * @throws {Error} with a reason if it is damaged or cut short
   */
  run(): void {
    do this.#member(); while (this.#fill() && this.#input[this.#at] !== 0);
    this.#flush();
  }

  #member(): void {
    this.#header();
    this.#deflate.reset();
    while (!this.#deflate.isDone) {
      // At the end of the input there may still be output that there was no room for.
      const hasMore = this.#fill();
      if (this.#filled === this.#limit) this.#limit = this.#sink.room();
      const before = this.#filled;
      const filled = this.#deflate.inflate(this.#at, this.#end, before, this.#limit);
      this.#filled = filled;
      const isStuck = this.#deflate.at === this.#at && filled === before && !this.#deflate.isDone;
      if (isStuck) throw new Error(hasMore ? "isal_inflate does not go on" : CUT);
      this.#at = this.#deflate.at;
      if (filled === this.#limit) this.#flush();
    }
    const sum = this.#u32(), size = this.#u32();
    if (sum !== this.#deflate.sum) throw new Error("incorrect data check");
    if (size !== this.#deflate.size) throw new Error("incorrect length check");
  }

  #header(): void {
    if (this.#u16() !== MAGIC) throw new Error("incorrect header check");
    if (this.#byte() !== DEFLATE) throw new Error("unknown compression method");
    const flags = this.#byte();
    if ((flags & UNKNOWN) !== 0) throw new Error("unknown header flags set");
    if (flags & HEADER_SUM) {
      this.#headerSum = crc32(Uint8Array.of(MAGIC & 255, MAGIC >> 8, DEFLATE, flags));
    }
    this.#skip(UNUSED_SIZE);
    if (flags & EXTRA) this.#skip(this.#u16());
    if (flags & NAME) this.#skipText();
    if (flags & COMMENT) this.#skipText();
    if (this.#headerSum === undefined) return;
    const sum = this.#headerSum & 0xffff;
    this.#headerSum = undefined;
    if (this.#u16() !== sum) throw new Error("header crc mismatch");
  }

  /** Makes a byte available; false at the end. What was inflated is written before a read. */
  #fill(): boolean {
    if (this.#at < this.#end) return true;
    this.#flush();
    this.#at = HEADROOM;
    this.#end = HEADROOM + this.#read(this.#input.subarray(HEADROOM));
    return this.#at < this.#end;
  }

  #flush(): void {
    if (this.#filled > this.#sink.at) this.#sink.put(this.#filled);
    this.#filled = this.#limit = this.#sink.at;
  }

  /** The next bytes, at least one and at most `most`. */
  #take(most: number): Bytes {
    if (!this.#fill()) throw new Error(CUT);
    const input = this.#input;
    const bytes = input.subarray(this.#at, Math.min(this.#end, this.#at + most));
    this.#at += bytes.length;
    if (this.#headerSum !== undefined) this.#headerSum = crc32(bytes, this.#headerSum);
    return bytes;
  }

  #byte(): number {
    return this.#take(1)[0];
  }

  #u16(): number {
    return this.#byte() | this.#byte() << 8;
  }

  #u32(): number {
    return (this.#u16() | this.#u16() << 16) >>> 0;
  }

  #skip(count: number): void {
    while (count > 0) count -= this.#take(count).length;
  }

  /** Skips a text and the NUL at its end. */
  #skipText(): void {
    for (let isEnd = false; !isEnd;) {
      if (!this.#fill()) throw new Error(CUT);
      const nul = this.#input.subarray(this.#at, this.#end).indexOf(0);
      isEnd = nul >= 0;
      this.#take(isEnd ? nul + 1 : this.#end - this.#at);
    }
  }
}
