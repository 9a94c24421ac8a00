/**
 * A Worker of `compress.ts`: pipe → compressor → output, one block after another.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { crc32 } from "node:zlib";
import { SyscallError } from "../../../ffi/errno.ts";
import { writeAll } from "../../../ffi/files.ts";
import { ZstdPacker } from "../../../ffi/zstd.ts";
import { reasonOf, WorkerMemory } from "../../base/worker_memory.ts";
import { compressBlock, release, streamHead, streamTail } from "./block.ts";
import type { CompressJob, Failure } from "./compress.ts";
import { BLOCK_BYTES } from "./sizes.ts";
import { Turns } from "./turns.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The blocks that a Worker keeps at most until it is their turn, each of its plain size at most. */
const MOST_WAITING = 3;

/** Room for the output of libzstd, in bytes. */
const PACKED = 256 << 10;

self.onmessage = ({ data }: MessageEvent<CompressJob>) => {
  const { control, text } = new WorkerMemory(data.memory);
  if (!control.begin()) return self.close();
  const turns = new Turns(data.input, data.turns);
  try {
    if (data.threads > 0) stream(turns, data);
    else work(turns, data);
    control.finish("done");
  } catch (error) {
    text.append(failureOf(error));
    turns.fail();
    turns.closeInput();
    control.finish("failed");
  }
  self.close();
};

/** A block that is to be written. */
interface Packed {
  readonly number: number;
  readonly parts: readonly Bytes[];
}

/**
 * Compresses blocks as long as there are any. What is not to be written yet waits, so that a thread
 * that gets no processor for a while does not hold up the others.
 */
function work(turns: Turns, { compression, output }: CompressJob): void {
  const room = new Uint8Array(BLOCK_BYTES[compression]), waiting: Packed[] = [];
  for (let block; (block = turns.read(room, crc32)) !== undefined;) {
    const { number, isLast, crc, end } = block, isFirst = number === 0;
    const parts = [compressBlock(compression, { ...block, isFirst })];
    if (isFirst) parts.unshift(streamHead(compression));
    if (isLast) parts.push(streamTail(compression, crc, end));
    waiting.push({ number, parts });
    while (waiting.length > MOST_WAITING || waiting.length > 0 && turns.isAt(waiting[0].number)) {
      if (!put(turns, waiting.shift()!, output)) return;
    }
  }
  for (const packed of waiting) if (!put(turns, packed, output)) return;
}

/** Writes a block when it is its turn; false if it never is. */
function put(turns: Turns, { number, parts }: Packed, output: number): boolean {
  if (!turns.waitFor(number)) return false;
  for (const part of parts) {
    writeAll(output, part);
    release(part);
  }
  turns.pass(number);
  return true;
}

/** Compresses all blocks in one frame, by threads of libzstd. */
function stream(turns: Turns, { compression, output, threads }: CompressJob): void {
  const room = new Uint8Array(BLOCK_BYTES[compression]), packed = new Uint8Array(PACKED);
  using packer = ZstdPacker.open(room, packed, threads);
  if (packer === undefined) throw new Error("libzstd is not there any more");
  for (let block; (block = turns.read(room, () => 0)) !== undefined;) {
    const { number, bytes, isLast } = block;
    if (number === 0 && isLast) {
      // As without Workers.
      return writeAll(output, compressBlock(compression, { ...block, isFirst: true }));
    }
    packer.feed(bytes.length, isLast);
    for (let size; (size = packer.next()) > 0;) writeAll(output, packed.subarray(0, size));
  }
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof SyscallError)) return { reason: reasonOf(error) };
  const { syscall, errno, path } = error;
  return { reason: reasonOf(error), call: { syscall, errno, path } };
}
