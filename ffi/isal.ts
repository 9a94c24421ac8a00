/**
 * Deflate streams (RFC 1951) by ISA-L, which inflates half as fast again as zlib.
 *
 * The library keeps its state in memory of the caller, who must know its layout. That of 2.30 is
 * below, and no call tells whether another version has the same. So the library is used only if it
 * inflates a known stream as expected, step by step, and leaves the memory around its own alone.
 *
 * Source of prototypes, offsets and constants: `igzip_lib.h` 2.30.0 on 64-bit machines.
 *
 * @module
 */
import { KNOWN_STREAM, KNOWN_SUM, knownPlain } from "./isal_known.ts";
import { isSameMemory } from "./memory.ts";
import { assertRange } from "./unwrap.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The library's name; tests name others. */
export const LIBRARY = "libisal.so.2";

const SYMBOLS = {
  // void isal_inflate_init(struct inflate_state *state);
  isal_inflate_init: { parameters: ["buffer"], result: "void" },
  // void isal_inflate_reset(struct inflate_state *state);
  isal_inflate_reset: { parameters: ["buffer"], result: "void" },
  // int isal_inflate(struct inflate_state *state);
  isal_inflate: { parameters: ["buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of the library that are called. */
export type IsalLibrary = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** `sizeof(struct inflate_state)`. */
export const STATE_SIZE = 87_368;
/** The offsets of its members, in bytes. */
export const OFFSETS = {
  next_out: 0,
  avail_out: 8,
  total_out: 12,
  next_in: 16,
  read_in: 24,
  avail_in: 32,
  read_in_length: 36,
  block_state: 21_160,
  crc_flag: 21_172,
  crc: 21_176,
  tmp_in_size: 21_206,
} as const;

/** Of `enum isal_block_state`: the stream has ended, and all of its output is written. */
export const ISAL_BLOCK_FINISH = 5;
/** A value of `crc_flag`: a deflate stream without header and trailer, whose CRC-32 is computed. */
export const ISAL_GZIP_NO_HDR = 2;

/** `ISAL_DECOMP_OK`, and the errors of a damaged stream. */
const OK = 0, INVALID_BLOCK = -1, INVALID_SYMBOL = -2, INVALID_LOOKBACK = -3;

const REASONS: ReadonlyMap<number, string> = new Map([
  [INVALID_BLOCK, "invalid block"],
  [INVALID_SYMBOL, "invalid code"],
  [INVALID_LOOKBACK, "invalid distance too far back"],
]);

/** Memory behind the state that is never the library's, in bytes. */
const GUARD = 128 << 10;
const CANARY = new Uint8Array(GUARD).fill(0xa5);

/**
 * How many bytes the memory of the input must have before the data: bytes that the library has
 * taken and not used are put there.
 */
export const HEADROOM = 8;

/** Deflate streams that are inflated one after another. */
export class DeflateStream {
  readonly #library: IsalLibrary;
  readonly #memory = new ArrayBuffer(STATE_SIZE + GUARD);
  readonly #state = new Uint8Array(this.#memory);
  readonly #words = new DataView(this.#memory);
  readonly #input: Bytes;
  readonly #output: Bytes;
  readonly #inputAddress: bigint;
  readonly #outputAddress: bigint;
  #at = 0;
  #isDone = false;

  /**
   * A stream, if the library is installed and can be trusted.
   *
   * @param input memory for compressed data, {@linkcode HEADROOM} bytes and what the caller puts
   * behind them
   * @param output memory for plain data
   */
  static open(input: Bytes, output: Bytes, name = LIBRARY): DeflateStream | undefined {
    const library = trusted(name);
    return library && new DeflateStream(library, input, output);
  }

  /** @param library must be one that can be trusted */
  constructor(library: IsalLibrary, input: Bytes, output: Bytes) {
    this.#library = library;
    this.#input = input;
    this.#output = output;
    this.#inputAddress = addressOf(input);
    this.#outputAddress = addressOf(output);
    this.#state.set(CANARY, STATE_SIZE);
    library.isal_inflate_init(this.#state);
    this.reset();
  }

  /** Begins the next stream. */
  reset(): void {
    this.#library.isal_inflate_reset(this.#state);
    this.#words.setUint32(OFFSETS.crc_flag, ISAL_GZIP_NO_HDR, true);
    this.#isDone = false;
  }

  /** Whether the stream has ended, and its output is complete. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** The offset in the input memory of the first byte that was not used. */
  get at(): number {
    return this.#at;
  }

  /** CRC-32 of the stream's output so far. */
  get sum(): number {
    return this.#words.getUint32(OFFSETS.crc, true);
  }

  /** The bytes of the stream's output so far, modulo 2^32. */
  get size(): number {
    return this.#words.getUint32(OFFSETS.total_out, true);
  }

  /** Whether the memory behind the state is as it was. */
  get isContained(): boolean {
    return isSameMemory(this.#state.subarray(STATE_SIZE), CANARY, GUARD);
  }

  /**
   * Inflates until the input is used up, the room for output is filled or the stream has ended.
   *
   * @param start the data is that of the input memory from here
   * @param end to here
   * @param filled the output goes to the output memory from here
   * @param limit to here at most; by default, to its end
   * @returns the end of what is filled now
   * @throws {Error} with a reason if the stream is damaged
   */
  inflate(start: number, end: number, filled: number, limit = this.#output.byteLength): number {
    const words = this.#words, input = end - start, room = limit - filled;
    assertRange(this.#input, start, input);
    assertRange(this.#output, filled, room);
    if (start < HEADROOM || this.#isDone) throw new RangeError(`a stream's input at ${start}`);
    words.setBigUint64(OFFSETS.next_in, this.#inputAddress + BigInt(start), true);
    words.setUint32(OFFSETS.avail_in, input, true);
    words.setBigUint64(OFFSETS.next_out, this.#outputAddress + BigInt(filled), true);
    words.setUint32(OFFSETS.avail_out, room, true);
    const result = this.#library.isal_inflate(this.#state);
    if (result !== OK) throw new Error(REASONS.get(result) ?? `isal_inflate returned ${result}`);
    const left = words.getUint32(OFFSETS.avail_in, true);
    const free = words.getUint32(OFFSETS.avail_out, true);
    this.#at = end - left;
    const isInside = left <= input && free <= room &&
      words.getBigUint64(OFFSETS.next_in, true) === this.#inputAddress + BigInt(this.#at) &&
      words.getBigUint64(OFFSETS.next_out, true) ===
        this.#outputAddress + BigInt(limit - free);
    if (!isInside) throw new Error("isal_inflate went beyond its memory");
    this.#isDone = words.getUint32(OFFSETS.block_state, true) === ISAL_BLOCK_FINISH;
    if (this.#isDone) this.#giveBack();
    return limit - free;
  }

  /** Puts the bytes behind the stream that the library has taken before those that it has not. */
  #giveBack(): void {
    const bits = this.#words.getInt32(OFFSETS.read_in_length, true);
    if (!(bits >= 0 && bits <= 64) || this.#words.getInt16(OFFSETS.tmp_in_size, true) !== 0) {
      throw new Error(`isal_inflate ended with ${bits} bits`);
    }
    const read = this.#words.getBigUint64(OFFSETS.read_in, true) >> BigInt(bits % 8);
    const count = bits >> 3;
    this.#at -= count;
    for (let i = 0; i < count; i++) {
      this.#input[this.#at + i] = Number(read >> BigInt(8 * i) & 255n);
    }
  }
}

function addressOf(memory: Bytes): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory));
}

const opened = new Map<string, IsalLibrary | undefined>();

/** The library, loaded and tried at the first call; `undefined` if it must not be used. */
function trusted(name: string): IsalLibrary | undefined {
  if (opened.has(name)) return opened.get(name);
  let library: IsalLibrary | undefined;
  try {
    library = Deno.dlopen(name, SYMBOLS).symbols;
  } catch {
    // It is not installed.
  }
  if (library !== undefined && !inflatesAsExpected(library)) library = undefined;
  opened.set(name, library);
  return library;
}

/** The input at each call of the trial: so that the header of a block is cut as well. */
const TRIAL_INPUT = 7;
/** Less than is kept for later references, so that these come from the state. */
const TRIAL_OUTPUT = 20_011;

/**
 * Whether a library has the state that this module knows: it inflates a known stream in small steps
 * as 2.30 does, finds its end and its checksum, and writes nothing behind its state or its output.
 */
export function inflatesAsExpected(library: IsalLibrary): boolean {
  const behind = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
  const data = new Uint8Array(HEADROOM + KNOWN_STREAM.length + behind.length);
  data.set(KNOWN_STREAM, HEADROOM);
  data.set(behind, HEADROOM + KNOWN_STREAM.length);
  const guarded = new Uint8Array(TRIAL_OUTPUT + GUARD);
  guarded.set(CANARY, TRIAL_OUTPUT);
  const output = guarded.subarray(0, TRIAL_OUTPUT), plain = knownPlain();
  try {
    const stream = new DeflateStream(library, data, output);
    let done = 0, filled = 0;
    for (let at = HEADROOM; !stream.isDone;) {
      const end = Math.min(data.length, at + TRIAL_INPUT);
      const size = stream.inflate(at, end, filled);
      const isStuck = stream.at === at && size === filled;
      at = stream.at;
      filled = size;
      if (filled === TRIAL_OUTPUT || stream.isDone) {
        if (!isSameMemory(output, plain.subarray(done), filled)) return false;
        done += filled;
        filled = 0;
      }
      if (isStuck || done + filled > plain.length) return false;
    }
    return done === plain.length && stream.size === done && stream.sum === KNOWN_SUM &&
      behind.every((byte, i) => data[stream.at + i] === byte) &&
      stream.at + behind.length === data.length && stream.isContained &&
      isSameMemory(guarded.subarray(TRIAL_OUTPUT), CANARY, GUARD);
  } catch {
    return false;
  }
}
