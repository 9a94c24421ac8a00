/**
 * Compressing pieces of memory, by Workers if there are enough of them.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { writeAll } from "../../../ffi/files.ts";
import type { Compression } from "../read/compression.ts";
import { compressBlock, streamHead, streamTail } from "./block.ts";
import { compressing } from "./compress.ts";
import { BLOCK_BYTES } from "./sizes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Compresses pieces. The output is the same whether there are Workers, which a single block does
 * not need.
 *
 * @param output stays the caller's
 * @throws {SyscallError} if the output cannot be written to, and what the iterator throws
 */
export function compressPieces(
  compression: Compression,
  pieces: Iterator<Bytes>,
  output: number,
): void {
  const first = new Uint8Array(BLOCK_BYTES[compression]);
  for (let size = 0;;) {
    const { done, value } = pieces.next();
    if (done) return writeAll(output, compressOne(compression, first.subarray(0, size)));
    if (size + value.length < first.length) {
      first.set(value, size);
      size += value.length;
      continue;
    }
    return compressing(compression, output, (fd) => {
      writeAll(fd, first.subarray(0, size));
      for (let piece: Bytes | undefined = value; piece; piece = nextOf(pieces)) writeAll(fd, piece);
    });
  }
}

function nextOf(pieces: Iterator<Bytes>): Bytes | undefined {
  const { done, value } = pieces.next();
  return done ? undefined : value;
}

/** Compresses a stream of one block. */
function compressOne(compression: Compression, bytes: Bytes): Bytes {
  const before = new Uint8Array();
  const block = compressBlock(compression, { bytes, before, isFirst: true, isLast: true });
  const head = streamHead(compression);
  const tail = streamTail(compression, crc32(bytes), bytes.length);
  const stream = new Uint8Array(head.length + block.length + tail.length);
  stream.set(head);
  stream.set(block, head.length);
  stream.set(tail, head.length + block.length);
  return stream;
}
