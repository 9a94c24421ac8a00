/**
 * The Worker of `decompress.ts`: input descriptor → zlib or libzstd → pipe.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { close, tryRead, writeAll } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { reasonOf, WorkerMemory } from "../../base/worker_memory.ts";
import type { DecompressJob } from "./decompress.ts";
import { CHUNK, decompress } from "./decompression.ts";
import { Expansion } from "./expansion.ts";

type Bytes = Uint8Array<ArrayBuffer>;

self.onmessage = ({ data }: MessageEvent<DecompressJob>) => {
  const { control, text } = new WorkerMemory(data.memory);
  if (!control.begin()) return self.close();
  run(data).then(() => control.finish("done"), (error) => {
    text.append(reasonOf(error));
    control.finish("failed");
  }).finally(() => {
    close(data.output);
    self.close();
  });
};

/** Decompresses until the input ends or something fails. A full pipe blocks this thread. */
function run(
  { compression, input, output, head, isBounded }: DecompressJob,
): Promise<void> {
  let first = head;
  const read = () => {
    if (first.length === 0) return next(input);
    const bytes = first;
    first = first.subarray(bytes.length);
    return bytes;
  };
  const write = (bytes: Bytes) => writeAll(output, bytes);
  if (!isBounded) return decompress(compression, read, write);
  const expansion = new Expansion();
  return decompress(compression, expansion.reading(read), expansion.writing(write));
}

function next(input: number): Bytes {
  const chunk = new Uint8Array(CHUNK);
  return chunk.subarray(0, unwrap(tryRead(input, chunk), "read"));
}
