import { assert, assertEquals, assertFalse } from "@std/assert";
import { Control, CONTROL_BYTES } from "../../lib/base/worker_control.ts";

/** Starts a Worker that counts its jobs, and ends as `done` with their number. */
function counter(): { control: Control; worker: Worker } {
  const control = new Control();
  const worker = new Worker(new URL("./control_worker.ts", import.meta.url), { type: "module" });
  worker.postMessage(control.buffer);
  return { control, worker };
}

Deno.test("worker control: jobs are done while the other thread waits, and are counted", () => {
  const { control, worker } = counter();
  assert(control.waitForBegin(120_000));
  assertEquals(control.state, "running");
  assertFalse(control.cancel(), "it has begun");
  for (let jobs = 1; jobs <= 1000; jobs++) {
    control.push(jobs);
    for (;;) {
      const { progress } = control;
      if (control.done === jobs) break;
      control.waitPast(progress);
    }
  }
  assertFalse(control.waitForEnd(10), "it waits for more");
  control.end(worker);
  assertEquals([control.state, control.result], ["done", 1000]);
  assert(control.waitForEnd(0));
});

Deno.test("worker control: one that is ended before it begins never does", () => {
  const { control, worker } = counter();
  control.push(1);
  control.end(worker);
  assertEquals(control.state, "cancelled");
  assert(control.cancel(), "as often as one likes");
  assertFalse(new Control(control.buffer).begin());
  assertEquals([control.done, control.result], [0, 0]);
});

Deno.test("worker control: the wait for a beginning has an end", () => {
  const control = new Control();
  const before = performance.now();
  assertFalse(control.waitForBegin(20));
  assert(performance.now() - before >= 19);
});

Deno.test("worker control: an end wakes what waits for progress", () => {
  const control = new Control();
  control.begin();
  const { progress } = control;
  control.finish("failed", 5);
  control.waitPast(progress);
  assertEquals([control.state, control.result], ["failed", 5]);
});

Deno.test("worker control: it touches nothing of the memory but its own bytes", () => {
  const buffer = new SharedArrayBuffer(3 * CONTROL_BYTES);
  const control = new Control(buffer, CONTROL_BYTES);
  control.begin();
  control.push(7);
  control.complete(7);
  control.finish("done", 7);
  const bytes = new Uint8Array(buffer);
  assert(bytes.subarray(0, CONTROL_BYTES).every((byte) => byte === 0));
  assert(bytes.subarray(2 * CONTROL_BYTES).every((byte) => byte === 0));
});
