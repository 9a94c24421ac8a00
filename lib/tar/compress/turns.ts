/**
 * How the Workers of a compression take turns: one at a time reads the next block from the pipe,
 * all compress, and each writes when the blocks before its own are written.
 *
 * So a few blocks a Worker are in memory, and a slow output makes the writer of the pipe wait.
 *
 * @module
 */
import { close, read } from "../../../ffi/files.ts";
import { DICTIONARY } from "./sizes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

// Words of the memory.
/** 1 while a Worker reads from the pipe or closes it. */
const LOCK = 0;
/** The number of the block that is read next. */
const NEXT = 1;
/** The number of the block that is written next; {@linkcode FAILED} if none will be. */
const TURN = 2;
/** 1 when the end of the pipe for reading was closed. */
const CLOSED = 3;
/** The CRC-32 of the plain bytes that were read. */
const CRC = 4;
/** How many these are, modulo 2³². */
const SIZE = 5;
const WORDS = 6;

const FAILED = -1;

/** A block that was read. */
export interface ReadBlock {
  readonly number: number;
  readonly bytes: Bytes;
  /** The bytes before it, at most {@linkcode DICTIONARY}. */
  readonly before: Bytes;
  readonly isLast: boolean;
  /** The CRC-32 of the plain bytes up to its end. */
  readonly crc: number;
  /** How many these are, modulo 2³². */
  readonly end: number;
}

/** Each thread has an object of its own over the same memory. */
export class Turns {
  readonly #words: Int32Array<SharedArrayBuffer>;
  /** The end of the last block that was read. */
  readonly #before: Uint8Array<SharedArrayBuffer>;

  /**
   * @param input the pipe's end for reading: whoever reads its end closes it, or {@linkcode fail}
   */
  constructor(
    readonly input: number,
    readonly buffer = new SharedArrayBuffer(4 * WORDS + DICTIONARY),
  ) {
    this.#words = new Int32Array(buffer, 0, WORDS);
    this.#before = new Uint8Array(buffer, 4 * WORDS);
  }

  /**
   * Reads the next block.
   *
   * @param room memory of a block's size; only the last block is shorter
   * @param crcOf continues a CRC-32
   * @returns the block in `room`; `undefined` if there are no more
   */
  read(room: Bytes, crcOf: (bytes: Bytes, before: number) => number): ReadBlock | undefined {
    const words = this.#words;
    return this.#locked(() => {
      if (words[CLOSED] === 1) return undefined;
      let size = 0;
      while (size < room.length) {
        const got = read(this.input, room.subarray(size));
        if (got === 0) break;
        size += got;
      }
      if (this.isFailed) return undefined;
      const number = words[NEXT]++, isLast = size < room.length, bytes = room.subarray(0, size);
      const before = number === 0 ? new Uint8Array() : new Uint8Array(this.#before);
      if (isLast) this.#close();
      else this.#before.set(room.subarray(-DICTIONARY));
      words[CRC] = crcOf(bytes, words[CRC] >>> 0);
      words[SIZE] += size;
      return { number, bytes, before, isLast, crc: words[CRC] >>> 0, end: words[SIZE] >>> 0 };
    });
  }

  /** Waits until a block is to be written; false if it never is. */
  waitFor(number: number): boolean {
    for (;;) {
      const turn = Atomics.load(this.#words, TURN);
      if (turn === number) return true;
      if (turn === FAILED) return false;
      Atomics.wait(this.#words, TURN, turn);
    }
  }

  /** Whether a block is to be written now. */
  isAt(number: number): boolean {
    return Atomics.load(this.#words, TURN) === number;
  }

  /** Ends the turn of a block that was written. */
  pass(number: number): void {
    Atomics.compareExchange(this.#words, TURN, number, number + 1);
    Atomics.notify(this.#words, TURN);
  }

  /** Lets nothing more be written. */
  fail(): void {
    Atomics.store(this.#words, TURN, FAILED);
    Atomics.notify(this.#words, TURN);
  }

  get isFailed(): boolean {
    return Atomics.load(this.#words, TURN) === FAILED;
  }

  /** Closes the end for reading, so that a writer of the pipe gets EPIPE. May be called twice. */
  closeInput(): void {
    this.#locked(() => this.#close());
  }

  #close(): void {
    if (this.#words[CLOSED] === 1) return;
    this.#words[CLOSED] = 1;
    close(this.input);
  }

  #locked<T>(use: () => T): T {
    while (Atomics.compareExchange(this.#words, LOCK, 0, 1) !== 0) {
      Atomics.wait(this.#words, LOCK, 1);
    }
    try {
      return use();
    } finally {
      Atomics.store(this.#words, LOCK, 0);
      Atomics.notify(this.#words, LOCK, 1);
    }
  }
}
