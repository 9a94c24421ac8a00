/**
 * The ring of bytes between two threads: what is written is read, at the ring's end and after 4 GiB as
 * well, and neither end waits for one that is gone.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ByteRing, RING_BYTES } from "../../lib/base/byte_ring.ts";
import type { RingTask } from "./byte_ring_worker.ts";

/** Writes to a ring in another thread; the result is how much there was room for. */
function writing(ring: ByteRing, task: RingTask): Promise<number> {
  const worker = new Worker(new URL("./byte_ring_worker.ts", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.onerror = reject;
    worker.postMessage({ buffer: ring.buffer, task });
  });
}

Deno.test("ByteRing: pieces fill it, end at its end, and come out as they went in", () => {
  const ring = new ByteRing();
  let position = 0;
  for (let turn = 0; turn < 100; turn++) {
    const size = Math.min(ring.room(), 30_011);
    for (let i = 0; i < size; i++) ring.bytes[ring.writeAt + i] = position + i;
    ring.wrote(size);
    assertEquals(ring.waitFor(position), "more");
    const count = ring.available(position), at = position % RING_BYTES;
    assertEquals(count, size);
    for (let i = 0; i < count; i++) assertEquals(ring.bytes[at + i], position + i & 255);
    position += count;
    ring.release(position);
  }
});

Deno.test("ByteRing: positions beyond 4 GiB", () => {
  const ring = new ByteRing();
  let position = 0;
  while (position < 2 ** 32 + 10 * RING_BYTES) {
    ring.wrote(ring.room());
    position += ring.available(position);
    ring.release(position);
  }
  assertEquals(ring.available(position), 0);
  ring.wrote(5);
  assertEquals([ring.available(position), ring.writeAt], [5, position % RING_BYTES + 5]);
});

Deno.test("ByteRing: a full one has no room, and the end comes behind the last byte", () => {
  const ring = new ByteRing();
  for (let written = 0; written < RING_BYTES;) {
    const size = ring.room();
    ring.wrote(size);
    written += size;
  }
  ring.end();
  let read = 0;
  for (; ring.waitFor(read) === "more"; read += ring.available(read));
  assertEquals([read, ring.waitFor(read)], [RING_BYTES, "ended"]);
  ring.close();
  assertEquals(ring.room(), 0);
});

Deno.test("ByteRing: a reader that waits for so long is told that nothing came", () => {
  assertEquals(new ByteRing().waitFor(0, 1), "nothing yet");
});

Deno.test("ByteRing: a writer and a reader in two threads", async () => {
  const ring = new ByteRing(), count = 20_000_003;
  const written = writing(ring, { count });
  let position = 0, wrong = 0;
  while (ring.waitFor(position) === "more") {
    const size = ring.available(position), at = position % RING_BYTES;
    for (let i = 0; i < size; i += 997) if (ring.bytes[at + i] !== (position + i) % 251) wrong++;
    position += size;
    ring.release(position);
  }
  assertEquals([position, wrong, await written], [count, 0, count]);
});

Deno.test("ByteRing: a writer that waits for room ends if the reader closes", async () => {
  const ring = new ByteRing();
  const written = writing(ring, { count: 10 * RING_BYTES });
  for (let come = 0; come < RING_BYTES; come += ring.available(come)) {
    assertEquals(ring.waitFor(come), "more");
  }
  ring.close();
  assertEquals(await written, RING_BYTES);
});
