/**
 * The Worker of `decompress.ts`: input descriptor → zlib → pipe.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import type { Buffer } from "node:buffer";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { close, tryRead, writeAll } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import {
  type DecompressJob,
  DONE,
  FAILED,
  MESSAGE,
  MESSAGE_LENGTH,
  RUNNING,
  STATE,
} from "./decompress.ts";

/** How much is read and how much is decompressed at a time, in bytes. */
const CHUNK = 256 << 10;

self.onmessage = ({ data }: MessageEvent<DecompressJob>) => {
  const state = new Int32Array(data.status, 0, 2);
  Atomics.store(state, STATE, RUNNING);
  Atomics.notify(state, STATE);
  run(data).then(() => Atomics.store(state, STATE, DONE), (error) => {
    report(data.status, error);
    Atomics.store(state, STATE, FAILED);
  }).finally(() => {
    close(data.output);
    self.close();
  });
};

/** Pumps until the input ends or something fails. */
function run({ compression, input, output, head }: DecompressJob): Promise<void> {
  const inflate = compression === "gzip"
    ? createGunzip({ chunkSize: CHUNK })
    : createZstdDecompress({ chunkSize: CHUNK });
  return new Promise((resolve, reject) => {
    inflate.on("data", (plain: Buffer) => {
      try {
        writeAll(
          output,
          new Uint8Array(plain.buffer as ArrayBuffer, plain.byteOffset, plain.length),
        );
      } catch (error) {
        inflate.destroy();
        reject(error);
      }
    });
    inflate.on("end", resolve);
    inflate.on("error", reject);
    const feed = (chunk: Uint8Array<ArrayBuffer>) => {
      if (inflate.destroyed) return;
      if (chunk.length === 0) inflate.end();
      else inflate.write(chunk, () => feed(next(input)));
    };
    feed(head.length > 0 ? head : next(input));
  });
}

function next(input: number): Uint8Array<ArrayBuffer> {
  const chunk = new Uint8Array(CHUNK);
  return chunk.subarray(0, unwrap(tryRead(input, chunk), "read"));
}

function report(status: SharedArrayBuffer, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  const bytes = new TextEncoder().encode(text).subarray(0, status.byteLength - MESSAGE);
  new Uint8Array(status, MESSAGE).set(bytes);
  Atomics.store(new Int32Array(status, 0, 2), MESSAGE_LENGTH, bytes.length);
}
