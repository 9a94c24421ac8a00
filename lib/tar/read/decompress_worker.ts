/**
 * The Worker of `decompress.ts`: input descriptor → zlib or libzstd → pipe.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { close, tryRead, writeAll } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { type DecompressJob, DecompressMemory } from "./decompress.ts";
import { CHUNK, decompress } from "./decompression.ts";

type Bytes = Uint8Array<ArrayBuffer>;

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

/** Decompresses until the input ends or something fails. A full pipe blocks this thread. */
function run({ compression, input, output, head }: DecompressJob): Promise<void> {
  let first = head;
  const read = () => {
    if (first.length === 0) return next(input);
    const bytes = first;
    first = first.subarray(bytes.length);
    return bytes;
  };
  return decompress(compression, read, (bytes) => writeAll(output, bytes));
}

function next(input: number): Bytes {
  const chunk = new Uint8Array(CHUNK);
  return chunk.subarray(0, unwrap(tryRead(input, chunk), "read"));
}
