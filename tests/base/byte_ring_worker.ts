/**
 * The writing end of a ring in another thread.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { ByteRing } from "../../lib/base/byte_ring.ts";

/** Writes so many bytes, each its position modulo 251; the answer is how many there was room for. */
export interface RingTask {
  readonly count: number;
}

self.onmessage = ({ data }: MessageEvent<{ buffer: SharedArrayBuffer; task: RingTask }>) => {
  const ring = new ByteRing(data.buffer);
  let position = 0;
  while (position < data.task.count) {
    const size = Math.min(ring.room(), data.task.count - position, 100_003);
    if (size === 0) break;
    for (let i = 0; i < size; i++) ring.bytes[ring.writeAt + i] = (position + i) % 251;
    position += size;
    ring.wrote(size);
  }
  ring.end();
  self.postMessage(position);
};
