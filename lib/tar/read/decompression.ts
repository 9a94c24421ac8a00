/**
 * Decompressing a stream, piece by piece, in a Worker.
 *
 * Without libzstd, zstd is left to the runtime, which is slower and takes a new decompressor for
 * each frame.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { ZstdStream } from "../../../ffi/zstd.ts";
import type { Compression } from "./compression.ts";
import { ZstdFrames } from "./zstd_frames.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Takes a piece of the plain bytes, which are its own only until it returns. */
type Write = (bytes: Bytes) => void;

/**
 * How much is read and how much is decompressed at a time, in bytes: not less than a window holds.
 */
export const CHUNK = 256 << 10;

/**
 * Decompresses until the input ends or something fails.
 *
 * @param read returns the next bytes, at most {@linkcode CHUNK}; none at the end
 * @param write gets the plain bytes
 */
export async function decompress(
  compression: Compression,
  read: () => Bytes,
  write: Write,
): Promise<void> {
  if (compression === "gzip") {
    await pump(createGunzip({ chunkSize: CHUNK }), chunks(read), write);
    return;
  }
  const chunk = new Uint8Array(CHUNK), plain = new Uint8Array(CHUNK);
  using stream = ZstdStream.open(chunk, plain);
  if (stream !== undefined) return inflate(stream, chunk, plain, read, write);
  const frames = new ZstdFrames(read);
  while (frames.next()) {
    await pump(createZstdDecompress({ chunkSize: CHUNK }), frames.frame(), write);
  }
}

/** Feeds libzstd, and passes its output on. */
function inflate(
  stream: ZstdStream,
  chunk: Bytes,
  plain: Bytes,
  read: () => Bytes,
  write: Write,
): void {
  for (let some = read(); some.length > 0; some = read()) {
    chunk.set(some);
    stream.feed(some.length);
    for (let size; (size = stream.next()) > 0;) write(plain.subarray(0, size));
  }
  if (stream.isInFrame) throw new Error("it ends inside a frame");
}

function* chunks(read: () => Bytes): Generator<Bytes> {
  for (let chunk = read(); chunk.length > 0; chunk = read()) yield chunk;
}

/** Feeds a decompressor, and passes its output on. */
function pump(inflate: Transform, input: Iterator<Bytes>, write: Write): Promise<void> {
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
        write(new Uint8Array(buffer as ArrayBuffer, byteOffset, length));
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
