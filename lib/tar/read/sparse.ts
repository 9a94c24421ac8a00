/**
 * Sparse files: which parts of a file a tar holds, in the four ways GNU tar has written it down.
 *
 * Source: GNU tar's manual, "Storing Sparse Files" (old GNU, pax 0.0, 0.1 and 1.0).
 *
 * @module
 */
import {
  BLOCK,
  GNU_EXTENSION_IS_EXTENDED,
  GNU_EXTENSION_PAIRS,
  GNU_IS_EXTENDED,
  GNU_REAL_SIZE,
  GNU_SPARSE_MAP,
  number,
  padding,
} from "../header.ts";
import type { SparseRecords } from "./pax.ts";
import type { Window } from "./window.ts";

/** The data of a sparse file: everything else reads as zeros. */
export interface SparseMap {
  /** The file's length in bytes. */
  readonly size: number;
  /** Offsets and lengths of the parts that the tar holds, in turn, ascending. */
  readonly parts: readonly number[];
}

/** At most so many parts: 16 MB of map, from a file with a hole at every other block of 8 GiB. */
const MOST_PARTS = 1 << 20;
const OLD_PAIRS = 4;

/** The map of an old GNU header (type `S`) and of the blocks that follow it. Throws RangeError. */
export function readOldGnuMap(window: Window, header: Uint8Array): SparseMap {
  const parts: number[] = [];
  pairs(header, GNU_SPARSE_MAP, OLD_PAIRS, parts);
  const size = number(header, ...GNU_REAL_SIZE);
  for (let more = header[GNU_IS_EXTENDED] !== 0; more;) {
    if (!window.fill(BLOCK)) {
      throw new RangeError("the tar ends inside a sparse map: it is cut short");
    }
    const { bytes, at } = window;
    pairs(bytes, at, GNU_EXTENSION_PAIRS, parts);
    more = bytes[at + GNU_EXTENSION_IS_EXTENDED] !== 0;
    window.take(BLOCK);
  }
  return { size, parts };
}

function pairs(bytes: Uint8Array, at: number, count: number, parts: number[]): void {
  for (let i = 0; i < count; i++, at += 24) {
    if (bytes[at] === 0) return; // an unused pair
    push(parts, number(bytes, at, 12), number(bytes, at + 12, 12));
  }
}

/**
 * The map that pax records give; format 1.0 has it at the start of the entry's data. `undefined` if
 * the entry is not sparse. Throws RangeError.
 */
export function readPaxMap(window: Window, sparse: SparseRecords): SparseMap | undefined {
  if (sparse.major === 1) {
    return { size: sparse.realSize ?? NaN, parts: readLeadingMap(window) };
  }
  if (sparse.size === undefined) return undefined;
  const numbers = sparse.map ?? sparse.pairs;
  if (numbers.length % 2 !== 0) throw new RangeError("a sparse map has an offset without a length");
  const parts: number[] = [];
  for (let i = 0; i < numbers.length; i += 2) push(parts, numbers[i], numbers[i + 1]);
  return { size: sparse.size, parts };
}

/** Format 1.0: decimal lines, first the count of parts, padded to a block. */
function readLeadingMap(window: Window): number[] {
  const start = window.position;
  const count = readLine(window);
  if (!(count <= MOST_PARTS)) throw new RangeError("a sparse map has too many parts");
  const parts: number[] = [];
  for (let i = 0; i < count; i++) push(parts, readLine(window), readLine(window));
  const rest = padding(window.position - start);
  if (!window.fill(rest)) {
    throw new RangeError("the tar ends inside a sparse map: it is cut short");
  }
  window.take(rest);
  return parts;
}

function readLine(window: Window): number {
  let value = 0;
  for (let digits = 0; digits <= 16; digits++) {
    if (!window.fill(1)) throw new RangeError("the tar ends inside a sparse map: it is cut short");
    const digit = window.bytes[window.at] - 0x30;
    window.take(1);
    if (digit === 0x0a - 0x30 && digits > 0) return value;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  throw new RangeError("a sparse map is malformed");
}

function push(parts: number[], offset: number, length: number): void {
  if (parts.length >= 2 * MOST_PARTS) throw new RangeError("a sparse map has too many parts");
  parts.push(offset, length);
}

/**
 * Checks that parts ascend, do not overlap, stay in the file and add up to the data. Throws
 * RangeError.
 */
export function checkSparseMap({ size, parts }: SparseMap, dataSize: number): void {
  if (!(Number.isSafeInteger(size) && size >= 0)) {
    throw new RangeError("the length of a sparse file is not a number from 0 to 2^53");
  }
  let end = 0, sum = 0;
  for (let i = 0; i < parts.length; i += 2) {
    const offset = parts[i], length = parts[i + 1];
    if (!(offset >= end && length >= 0 && offset + length <= size)) {
      throw new RangeError("a sparse map does not ascend or leaves its file");
    }
    end = offset + length;
    sum += length;
  }
  if (sum !== dataSize) {
    throw new RangeError(`a sparse map of ${sum} bytes stands before ${dataSize} bytes of data`);
  }
}
