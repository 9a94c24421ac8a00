/**
 * Killing a process with SIGKILL before each system call of an operation.
 *
 * A first run is traced to learn which calls the operation makes; then each of them is a point at which a
 * fresh process is killed, on a fresh store. `make test` takes a sample of the points, every one of them is
 * taken where `VENEER_TEST_LONG` is set.
 */
import { IS_LONG } from "../../support/cases.ts";
import { assert } from "@std/assert";
import { join } from "@std/path";
import type { TempDir } from "../../support/cases.ts";
import { DONE, END_MARK } from "./point.ts";
import { storeDir } from "../../support/store_dir.ts";

/** Calls of the runtime, which come and go with its threads and its memory, and change nothing on disk. */
const RUNTIME =
  /^(futex|m(map|unmap|advise|protect|remap)|brk|sched_|epoll_|clock_|rt_sig|getrandom|membarrier|rseq|prctl|sigaltstack|exit|restart_syscall|getpid|gettid|tgkill|nanosleep|\+|-)/;

/** How many points of an operation `make test` takes. */
const SAMPLE = 5;

/** How many calls before a point that was not reached the process is killed instead. */
const NEAR = 5;

/** How many traces are made at most. */
const TRACES = 4;

/** What is killed, and how what it left is looked at. */
export interface Victim<Before> {
  /** The operation, for messages. */
  readonly name: string;
  /** A script in this folder that calls `untilKilled`. */
  readonly script: string;
  /** Its arguments, for a store in a directory. */
  arguments(dir: TempDir): string[];
  /** Makes the store, and says what verifying it needs to know. */
  prepare(dir: TempDir): Before;
  /** Checks what must hold; `done` says that the process had told that the operation is done. */
  verify(dir: TempDir, before: Before, done: boolean): void;
}

/** A point: before the `count`th call of that name. */
interface Point {
  readonly syscall: string;
  readonly count: number;
}

/**
 * Kills an operation before its system calls, each time on a new store.
 *
 * Runs differ: in how often the mount table is read, by what else is mounted on the machine, and in how much the first
 * thread does by itself, by how soon a Worker begins. So points that no run comes to are chosen anew, by another trace.
 */
export async function killBeforeEveryCall<Before>(victim: Victim<Before>): Promise<void> {
  for (let tries = 1;; tries++) {
    const points = await trace(victim);
    assert(points.length >= 10, `a trace of ${points.length} calls`);
    const chosen = sample(points);
    let survived = 0;
    for (const point of chosen) if (!await killNear(victim, point)) survived++;
    console.log(
      `${victim.name}: ${points.length} points by strace, killed at ${chosen.length - survived} ` +
        `of ${chosen.length}`,
    );
    if (survived <= chosen.length / 5) return;
    assert(tries < TRACES, `${survived} of ${chosen.length} were not killed`);
  }
}

/**
 * Kills a process before a call, and looks at what it left; where it ended without coming to that call, another
 * before one of the calls of that name just before. Returns whether any was killed.
 */
async function killNear<Before>(
  victim: Victim<Before>,
  { syscall, count }: Point,
): Promise<boolean> {
  for (let at = count; at > Math.max(0, count - NEAR); at--) {
    using dir = storeDir();
    const before = victim.prepare(dir);
    const { killed, done } = await run(victim, dir, injection({ syscall, count: at }));
    try {
      victim.verify(dir, before, done);
    } catch (cause) {
      const state = done ? ", after it was done" : "";
      throw new Error(`${victim.name} killed before ${syscall} ${at}${state}`, { cause });
    }
    if (killed) return true;
  }
  return false;
}

function sample(points: Point[]): Point[] {
  if (IS_LONG || points.length <= SAMPLE) return points;
  // Spread over the operation, others at each run.
  const step = points.length / SAMPLE;
  return Array.from({ length: SAMPLE }, (_, i) => points[Math.floor((i + Math.random()) * step)]);
}

const injection = ({ syscall, count }: Point) => `inject=${syscall}:signal=KILL:when=${count}`;

/** The calls that the operation makes, in order. */
async function trace<Before>(victim: Victim<Before>): Promise<Point[]> {
  using dir = storeDir();
  const before = victim.prepare(dir);
  const log = join(dir.path, "trace");
  const { killed, done } = await run(victim, dir, "trace=all", log);
  assert(!killed && done, "the first run is not killed");
  const points: Point[] = [];
  const counts = new Map<string, number>();
  for (const line of Deno.readTextFileSync(log).split("\n")) {
    const syscall = /^(\w+)\(/.exec(line)?.[1];
    if (syscall === undefined) continue;
    const count = (counts.get(syscall) ?? 0) + 1;
    counts.set(syscall, count);
    if (!RUNTIME.test(syscall)) points.push({ syscall, count });
    if (line.includes(END_MARK)) {
      victim.verify(dir, before, done);
      return points;
    }
  }
  throw new Error(`the trace of ${victim.name} has no end`);
}

/** How a process ended, and whether it had said that its operation was done. */
interface Ended {
  readonly killed: boolean;
  readonly done: boolean;
}

/** Runs the operation in a process of its own under strace. */
async function run<Before>(
  victim: Victim<Before>,
  dir: TempDir,
  expression: string,
  log = "/dev/null",
): Promise<Ended> {
  const script = join(import.meta.dirname!, victim.script);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", script, ...victim.arguments(dir)],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  const stdout = child.stdout.getReader();
  const { value } = await stdout.read();
  if (value === undefined) throw new Error(`the process did not start: ${await stderr}`);
  const strace = new Deno.Command("strace", {
    args: ["-o", log, "-e", expression, "-p", String(child.pid)],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const tracing = strace.stderr.getReader();
  await tracing.read(); // It says when it is attached.
  const writer = child.stdin.getWriter();
  await writer.write(new Uint8Array(1)).catch((error) => {
    // A call of the waiting itself may have been the one to be killed before.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  });
  const { success, signal } = await child.status;
  await strace.status;
  const rest = (await stdout.read()).value;
  await Promise.all([writer.close().catch(() => {}), stdout.cancel(), tracing.cancel()]);
  if (!success && signal !== "SIGKILL") throw new Error(`the process failed: ${await stderr}`);
  await stderr;
  return {
    killed: signal === "SIGKILL",
    done: rest !== undefined && new TextDecoder().decode(rest) === DONE,
  };
}
