/**
 * The moment at which a service's records reach the disk: after the answers or, with
 * `sync=filesystem`, before them. And an idle service does nothing.
 */
import { assert } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, lacksProgram, needs } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { commit, make } from "./snapshots_client.ts";
import { Process, TestService, until } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

const PREPARE = { method: "Prepare", request: make("other") };
const COMMIT = { method: "Commit", request: commit("name", "key") };

/** The order of a call's answer and the first sync of the log after the call began. */
async function traced(
  { method, request }: { method: string; request: number[] },
  ...options: string[]
): Promise<{ answer: number; sync: number }> {
  await using service = await TestService.start(...options);
  using client = await service.connect();
  const file = join(service.directory.path, "trace");
  const strace = new Process([
    ...["strace", "-f", "-y", "-e", "trace=fdatasync,sendto", "-o", file],
    ...["-p", `${service.process.pid}`],
  ]);
  await strace.said(/attached/);
  /** The whole lines of the trace. */
  const calls = () => isThere(file) ? Deno.readTextFileSync(file).split("\n").slice(0, -1) : [];
  const isAnswer = (call: string) => /sendto\(/.test(call);
  const isSync = (call: string) => /fdatasync\(.*metadata\.db-wal>/.test(call);
  assert((await client.call("Prepare", make("key"))).status === 0);
  // Until the sync of that call is over: it comes behind its answer, unless it is asked for before.
  await until(() => {
    const answer = calls().findIndex(isAnswer);
    return answer >= 0 && calls().findLastIndex(isSync) > (options.length > 0 ? -1 : answer);
  }, "the first answer and its sync");
  const from = calls().length;
  assert((await client.call(method, request)).status === 0);
  const answer = () => calls().findIndex((call, at) => at >= from && isAnswer(call));
  const sync = () => calls().findIndex((call, at) => at >= from && isSync(call));
  await until(() => answer() >= 0 && sync() >= 0, "an answer and a sync");
  await strace.end("SIGTERM");
  return { answer: answer(), sync: sync() };
}

needs(
  lacking ?? lacksProgram("strace"),
  "log sync: a change is answered, and then on disk soon",
  async () => {
    const { answer, sync } = await traced(PREPARE);
    assert(answer < sync);
  },
);

needs(
  lacking ?? lacksProgram("strace"),
  "log sync: a commit is on disk before it is answered",
  async () => {
    const { answer, sync } = await traced(COMMIT);
    assert(sync < answer);
  },
);

needs(
  lacking ?? lacksProgram("strace"),
  "log sync: commits at once are all on disk before the last is answered",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    const keys = Array.from({ length: 8 }, (_, n) => `key ${n}`);
    for (const key of keys) assert((await client.call("Prepare", make(key))).status === 0);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const file = join(service.directory.path, "trace");
    const strace = new Process([
      ...["strace", "-f", "-y", "-e", "trace=fdatasync,sendto,pwrite64", "-o", file],
      ...["-p", `${service.process.pid}`],
    ]);
    await strace.said(/attached/);
    const replies = keys.map((key) => client.call("Commit", commit(`name of ${key}`, key)));
    for (const { status } of await Promise.all(replies)) assert(status === 0);
    await strace.end("SIGTERM");
    const calls = Deno.readTextFileSync(file).split("\n");
    const answered = calls.findLastIndex((call) => /sendto\(/.test(call));
    const written = calls.findLastIndex((call) => /pwrite64\(.*metadata\.db-wal>/.test(call));
    const synced = calls.slice(written, answered).some((call) => /fdatasync/.test(call));
    assert(0 <= written && synced, calls.slice(written).join("\n"));
  },
);

needs(
  lacking ?? lacksProgram("strace"),
  "log sync: with sync=filesystem a change is on disk before it is answered",
  async () => {
    const { answer, sync } = await traced(PREPARE, "-o", "sync=filesystem");
    assert(sync < answer);
  },
);

needs(lacking, "service: it sleeps without work, even with connected clients", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  assert((await client.call("Prepare", make("key"))).status === 0);
  const { pid } = service.process;
  /** The number of times that the first thread has slept and was woken. */
  const wakes = () =>
    /^voluntary_ctxt_switches:\s*(\d+)$/m.exec(
      Deno.readTextFileSync(`/proc/${pid}/task/${pid}/status`),
    )![1];
  // Garbage collections come after the work, on a slow machine for long.
  for (let tries = 0; tries < 40; tries++) {
    const before = wakes();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    if (wakes() === before) return;
  }
  throw new Error("it was never asleep for three seconds");
});
