/**
 * Decompressing a stream, piece by piece, in a Worker.
 *
 * Libraries of the host do it if they are installed, in memory that serves for the whole stream.
 * Otherwise the runtime does, which is slower, takes new memory for each piece, and for zstd a new
 * decompressor for each frame.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { DeflateStream, HEADROOM } from "../../../ffi/isal.ts";
import { ZstdStream } from "../../../ffi/zstd.ts";
import type { Inflater } from "../../base/inflater.ts";
import type { Compression } from "./compression.ts";
import { GzipMembers } from "./gzip_members.ts";
import type { Sink } from "./sink.ts";
import { ZstdFrames } from "./zstd_frames.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Puts the next bytes into some memory, and returns how many: 0 at the end. */
export type Read = (memory: Bytes) => number;

/**
 * How much is read and how much is decompressed at a time, in bytes: not less than a window holds.
 */
export const CHUNK = 256 << 10;

/**
 * Decompresses until the input ends or something fails.
 *
 * @param read is never asked for more than {@linkcode CHUNK}
 * @param inflater see {@linkcode Inflater}
 */
export async function decompress(
  compression: Compression,
  read: Read,
  sink: Sink,
  inflater: Inflater,
): Promise<void> {
  const isDone = inflater === "auto" &&
    (compression === "gzip" ? inflateGzip(read, sink) : inflateZstd(read, sink));
  if (isDone) return;
  const next = pieces(read);
  if (compression === "gzip") {
    return await pump(createGunzip({ chunkSize: CHUNK }), chunks(next), sink);
  }
  const frames = new ZstdFrames(next);
  while (frames.next()) {
    await pump(createZstdDecompress({ chunkSize: CHUNK }), frames.frame(), sink);
  }
}

/** Decompresses gzip by ISA-L; false if that cannot be used. */
function inflateGzip(read: Read, sink: Sink): boolean {
  const input = new Uint8Array(HEADROOM + CHUNK);
  const deflate = DeflateStream.open(input, sink.memory);
  if (deflate === undefined) return false;
  new GzipMembers(deflate, input, read, sink).run();
  return true;
}

/** Decompresses zstd by libzstd; false if that is not installed. */
function inflateZstd(read: Read, sink: Sink): boolean {
  const input = new Uint8Array(CHUNK);
  using stream = ZstdStream.open(input, sink.memory);
  if (stream === undefined) return false;
  for (let got; (got = read(input)) > 0;) {
    stream.feed(got);
    for (let end; (end = stream.next(sink.at, sink.room())) > sink.at;) sink.put(end);
  }
  if (stream.isInFrame) throw new Error("it ends inside a frame");
  return true;
}

/** Returns a function that reads into new memory each time. */
function pieces(read: Read): () => Bytes {
  return () => {
    const memory = new Uint8Array(CHUNK);
    return memory.subarray(0, read(memory));
  };
}

function* chunks(read: () => Bytes): Generator<Bytes> {
  for (let chunk = read(); chunk.length > 0; chunk = read()) yield chunk;
}

/** Feeds a decompressor, and passes its output on. */
function pump(inflate: Transform, input: Iterator<Bytes>, sink: Sink): Promise<void> {
  return new Promise((resolve, reject) => {
    /** No caller would catch an exception of these steps. */
    const guarded = <A>(step: (argument: A) => void) => (argument: A) => {
      try {
        step(argument);
      } catch (error) {
        inflate.destroy();
        reject(error);
      }
    };
    inflate.on(
      "data",
      guarded(({ buffer, byteOffset, length }: Buffer) => {
        sink.write(new Uint8Array(buffer as ArrayBuffer, byteOffset, length));
      }),
    );
    inflate.on("end", resolve);
    inflate.on("error", reject);
    const feed = guarded(() => {
      const { done, value } = input.next();
      if (done) inflate.end();
      else inflate.write(value, () => feed(undefined));
    });
    feed(undefined);
  });
}
