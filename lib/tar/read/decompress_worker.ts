/**
 * The Worker of `decompress.ts`: input descriptor → zlib or libzstd → pipe.
 *
 * Without libzstd, zstd is left to the runtime, which is slower and takes a new decompressor for
 * each frame.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import type { Buffer } from "node:buffer";
import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { close, tryRead, writeAll } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { ZstdStream } from "../../../ffi/zstd.ts";
import { type DecompressJob, DecompressMemory } from "./decompress.ts";
import { ZstdFrames } from "./zstd_frames.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * How much is read and how much is decompressed at a time, in bytes: not less than a window holds.
 */
const CHUNK = 256 << 10;

/** Characters of a reason at most: there is room for them in any script. */
const MOST_OF_A_REASON = 500;

self.onmessage = ({ data }: MessageEvent<DecompressJob>) => {
  const { control, reason } = new DecompressMemory(data.memory);
  if (!control.begin()) return self.close();
  run(data).then(() => control.finish("done"), (error) => {
    const text = error instanceof Error ? error.message : String(error);
    reason.append(text.slice(0, MOST_OF_A_REASON));
    control.finish("failed");
  }).finally(() => {
    close(data.output);
    self.close();
  });
};

/** Decompresses until the input ends or something fails. */
async function run({ compression, input, output, head }: DecompressJob): Promise<void> {
  let first = head;
  const read = () => {
    if (first.length === 0) return next(input);
    const bytes = first;
    first = first.subarray(bytes.length);
    return bytes;
  };
  if (compression === "gzip") {
    await pump(createGunzip({ chunkSize: CHUNK }), chunks(read), output);
    return;
  }
  const chunk = new Uint8Array(CHUNK), plain = new Uint8Array(CHUNK);
  using stream = ZstdStream.open(chunk, plain);
  if (stream !== undefined) return inflate(stream, chunk, plain, read, output);
  const frames = new ZstdFrames(read);
  while (frames.next()) {
    await pump(createZstdDecompress({ chunkSize: CHUNK }), frames.frame(), output);
  }
}

/** Feeds libzstd, and writes its output to the pipe. */
function inflate(
  stream: ZstdStream,
  chunk: Bytes,
  plain: Bytes,
  read: () => Bytes,
  output: number,
): void {
  for (let some = read(); some.length > 0; some = read()) {
    chunk.set(some);
    stream.feed(some.length);
    for (let size; (size = stream.next()) > 0;) writeAll(output, plain.subarray(0, size));
  }
  if (stream.isInFrame) throw new Error("it ends inside a frame");
}

function* chunks(read: () => Bytes): Generator<Bytes> {
  for (let chunk = read(); chunk.length > 0; chunk = read()) yield chunk;
}

/** Feeds a decompressor, and writes its output to the pipe. A full pipe blocks this thread. */
function pump(inflate: Transform, input: Iterator<Bytes>, output: number): Promise<void> {
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
        writeAll(output, new Uint8Array(buffer as ArrayBuffer, byteOffset, length));
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

function next(input: number): Bytes {
  const chunk = new Uint8Array(CHUNK);
  return chunk.subarray(0, unwrap(tryRead(input, chunk), "read"));
}
