/**
 * The moment at which a service's records reach the disk: after the answers or, with
 * `sync=filesystem`, before them. And an idle service does nothing.
 */
import { assert } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, lacksProgram, needs } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { END_STREAM, framesOf, HEADERS } from "./grpc_client.ts";
import { commit, make } from "./snapshots_client.ts";
import { Process, TestService, until } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

const PREPARE = { method: "Prepare", request: make("other") };
const COMMIT = { method: "Commit", request: commit("name", "key") };

/** A trace of the calls of a service that answer clients and write records. */
class Trace {
  readonly #file: string;
  readonly #strace: Process;

  private constructor(service: TestService) {
    this.#file = join(service.directory.path, "trace");
    this.#strace = new Process([
      ...["strace", "-f", "-y", "-x", "-s", "4096", "-e", "trace=fdatasync,sendto,pwrite64"],
      ...["-o", this.#file, "-p", `${service.process.pid}`],
    ]);
  }

  static async of(service: TestService): Promise<Trace> {
    const trace = new Trace(service);
    await trace.#strace.said(/attached/);
    return trace;
  }

  /** The whole lines so far. A line may be written later than a client has the bytes it tells of. */
  get lines(): string[] {
    if (!isThere(this.#file)) return [];
    return Deno.readTextFileSync(this.#file).split("\n").slice(0, -1);
  }

  /** Waits for the answers on streams; returns the line of the last. */
  async answered(...streams: number[]): Promise<number> {
    const find = () => {
      const sent = this.lines.map((line) => new Set(streamsEnded(line)));
      return streams.map((stream) => sent.findIndex((streams) => streams.has(stream)));
    };
    await until(() => !find().includes(-1), `answers on ${streams}`);
    return Math.max(...find());
  }

  /** Waits for the first sync of the log at or after a line; returns its line. */
  async synced(from: number): Promise<number> {
    const find = () => this.lines.findIndex((line, at) => at >= from && isSync(line));
    await until(() => find() >= 0, "a sync of the log");
    return find();
  }

  async end(): Promise<void> {
    await this.#strace.end("SIGTERM");
  }
}

/**
 * The end of a sync of the log. Of a call that others interrupt, the trace has two lines, and only
 * the first names the file; but no other file is synced.
 */
const isSync = (line: string) => /fdatasync(\(.*metadata\.db-wal>\)| resumed).* = 0$/.test(line);

/**
 * The streams whose trailers are in the data that a line of a trace sends. Headers and messages may
 * be sent before a sync: a call's answer is its trailers.
 */
function streamsEnded(line: string): number[] {
  const [, hex] = /sendto\([^"]*"((?:\\x[0-9a-f]{2})*)"/.exec(line) ?? [];
  const bytes = Uint8Array.from(hex?.split("\\x").slice(1) ?? [], (byte) => parseInt(byte, 16));
  const streams = [];
  for (const { type, flags, stream } of framesOf(bytes)) {
    if (type === HEADERS && flags & END_STREAM) streams.push(stream);
  }
  return streams;
}

/** The order of a call's answer and the first sync of the log after the call began. */
async function traced(
  { method, request }: { method: string; request: number[] },
  ...options: string[]
): Promise<{ answer: number; sync: number }> {
  await using service = await TestService.start(...options);
  using client = await service.connect();
  const trace = await Trace.of(service);
  // A client's streams have odd numbers (RFC 9113, 5.1.1).
  assert((await client.call("Prepare", make("key"))).status === 0);
  const first = await trace.answered(1);
  // Its sync comes behind its answer, unless it is asked for before.
  const from = Math.max(first, await trace.synced(options.length > 0 ? 0 : first)) + 1;
  assert((await client.call(method, request)).status === 0);
  const order = { answer: await trace.answered(3), sync: await trace.synced(from) };
  await trace.end();
  return order;
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
    const trace = await Trace.of(service);
    const replies = keys.map((key) => client.call("Commit", commit(`name of ${key}`, key)));
    for (const { status } of await Promise.all(replies)) assert(status === 0);
    const answered = await trace.answered(...keys.map((_, n) => 2 * (keys.length + n) + 1));
    await trace.end();
    const calls = trace.lines.slice(0, answered);
    const written = calls.findLastIndex((call) => /pwrite64\(.*metadata\.db-wal>/.test(call));
    assert(0 <= written && calls.slice(written).some(isSync), calls.slice(written).join("\n"));
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
