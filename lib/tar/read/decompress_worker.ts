/**
 * The Worker of `decompress.ts`: input descriptor → decompressor → ring.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { close, read as readInput } from "../../../ffi/files.ts";
import { ByteRing } from "../../base/byte_ring.ts";
import { reasonOf, WorkerMemory } from "../../base/worker_memory.ts";
import type { DecompressJob } from "./decompress.ts";
import { decompress, type Read } from "./decompression.ts";
import { Expansion } from "./expansion.ts";
import { RingSink, type Sink } from "./sink.ts";

self.onmessage = ({ data }: MessageEvent<DecompressJob>) => {
  const { control, text } = new WorkerMemory(data.memory);
  if (!control.begin()) return self.close();
  const ring = new ByteRing(data.output), sink = new RingSink(ring);
  run(data, sink, () => control.isStopped).finally(() => close(data.input)).then(
    () => control.finish("done"),
    (error) => {
      text.append(reasonOf(error));
      control.finish("failed");
    },
  ).finally(() => {
    // The reader asks for the outcome at the end of the ring.
    ring.end();
    self.close();
  });
};

/** Decompresses until the input ends or something fails. A full ring blocks this thread. */
function run(job: DecompressJob, sink: Sink, isStopped: () => boolean): Promise<void> {
  const { compression, input, isBounded, inflater } = job;
  let { head } = job;
  const read: Read = (memory) => {
    if (isStopped()) throw new Error("it was stopped");
    if (head.length === 0) return readInput(input, memory);
    const part = head.subarray(0, memory.length);
    memory.set(part);
    head = head.subarray(part.length);
    return part.length;
  };
  if (!isBounded) return decompress(compression, read, sink, inflater);
  const expansion = new Expansion();
  return decompress(compression, expansion.reading(read), expansion.bounding(sink), inflater);
}
