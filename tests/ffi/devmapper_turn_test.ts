/** Threads of one process in libdevmapper, which keeps its log function in a global variable. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { limitHere } from "../support/cpu_time.ts";

const worker = () =>
  new Worker(new URL("./devmapper_turn_worker.ts", import.meta.url), { type: "module" });

const next = (from: Worker) =>
  new Promise((resolve) => from.onmessage = ({ data }) => resolve(data));

Deno.test("a thread in libdevmapper never waits for another that waits for its lock", async () => {
  const path = Deno.makeTempFileSync({ dir: Deno.env.get("VENEER_TEST_DIR") });
  const holder = worker(), waiter = worker();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const held = next(holder);
    holder.postMessage({ path, role: "holder" });
    assertEquals(await held, "held");
    const done = Promise.all([next(holder), next(waiter)]);
    waiter.postMessage({ path, role: "waiter" });
    const tooLong = new Promise((resolve) => {
      timer = setTimeout(() => resolve("each waits for the other"), limitHere(60_000));
    });
    assertEquals(await Promise.race([done, tooLong]), ["done", "done"]);
  } finally {
    clearTimeout(timer);
    holder.terminate();
    waiter.terminate();
    Deno.removeSync(path);
  }
});
