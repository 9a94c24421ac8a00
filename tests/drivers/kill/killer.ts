/**
 * Killing a program at each of its system calls: it is started here, asks to be traced when it begins what
 * counts, and is killed before the call of choice. What libdevmapper calls in between is seen as well.
 */
import { IS_LONG } from "../../support/cases.ts";
import { cstring } from "../../../ffi/cstring.ts";
import { SyscallError } from "../../../ffi/errno.ts";
import { E } from "../../../ffi/libc.ts";

const { symbols: libc } = Deno.dlopen("libc.so.6", {
  // int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *file_actions,
  //                 const posix_spawnattr_t *attrp, char *const argv[], char *const envp[]);
  posix_spawn: {
    parameters: ["buffer", "buffer", "pointer", "pointer", "buffer", "buffer"],
    result: "i32",
  },
  // long ptrace(enum __ptrace_request op, pid_t pid, void *addr, void *data);
  ptrace: { parameters: ["i64", "i32", "u64", "u64"], result: "i64" },
  // pid_t waitpid(pid_t pid, int *wstatus, int options);
  waitpid: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  // int kill(pid_t pid, int sig);
  kill: { parameters: ["i32", "i32"], result: "i32" },
  // int raise(int sig);
  raise: { parameters: ["i32"], result: "i32" },
  // void _exit(int status);
  _exit: { parameters: ["i32"], result: "void" },
});

// sys/ptrace.h, linux/ptrace.h, signal.h, sys/wait.h.
const PTRACE_TRACEME = 0n, PTRACE_SYSCALL = 24n, PTRACE_SETOPTIONS = 0x4200n;
const PTRACE_PEEKUSER = 3n;
const PTRACE_O_TRACESYSGOOD = 1n, PTRACE_O_EXITKILL = 0x100000n;
const SIGTRAP = 5, SIGKILL = 9, SIGCONT = 18, SIGSTOP = 19;
const WUNTRACED = 2;

// Where x86_64, the guest's architecture, has a call's number and second argument: `struct user`, sys/user.h.
const ORIG_RAX = 15n * 8n, RSI = 13n * 8n;

/** Calls of the runtime, which come and go with its memory and threads, and change nothing on disk. */
export const RUNTIME: ReadonlyMap<string, number> = new Map([
  ["mmap", 9],
  ["mprotect", 10],
  ["munmap", 11],
  ["brk", 12],
  ["rt_sigaction", 13],
  ["rt_sigprocmask", 14],
  ["sched_yield", 24],
  ["mremap", 25],
  ["madvise", 28],
  ["getpid", 39],
  ["gettid", 186],
  ["futex", 202],
  ["clock_gettime", 228],
  ["clock_nanosleep", 230],
  ["epoll_wait", 232],
  ["tgkill", 234],
  ["restart_syscall", 219],
  ["getrandom", 318],
  ["clone3", 435],
]);
const RUNTIME_NUMBERS = new Set(RUNTIME.values());

/** Whether a call, by its number, is one of the program's own. */
export const counts = (call: number): boolean => !RUNTIME_NUMBERS.has(call);

/** How many points of an operation `make test` takes. */
const SAMPLE = 2;

/** The points of an operation of so many calls that are taken. */
export function points(count: number): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  if (IS_LONG) return all;
  // Spread over the operation, others at each run.
  return Array.from({ length: SAMPLE }, (_, i) => Math.floor((i + Math.random()) * count / SAMPLE));
}

/** A system call that was about to be made. */
export interface Call {
  readonly number: number;
  /** Its second argument: an ioctl's request. */
  readonly request: bigint;
}

/** How a program ended. */
export interface Killed {
  /** Whether it was killed, and not at its end before. */
  readonly killed: boolean;
  /** Those of its calls that count, as far as it came. */
  readonly calls: readonly Call[];
}

/** In the program: from here on its system calls count, until it ends with {@linkcode endHere}. */
export function beginHere(by: "killer" | "strace"): void {
  if (by === "killer") libc.ptrace(PTRACE_TRACEME, 0, 0n, 0n);
  libc.raise(SIGSTOP);
}

/** In the program: ends it without anything more. */
export function endHere(status: number): void {
  libc._exit(status);
}

/**
 * Runs a program and kills it before one of its calls.
 *
 * @param at which one, from 0, of those that count; `Infinity` to let it end
 */
export function killBefore(at: number, args: string[], counts: (call: number) => boolean): Killed {
  const pid = spawn(args);
  expectStop(wait(pid), args);
  const options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  if (libc.ptrace(PTRACE_SETOPTIONS, pid, 0n, options) < 0) {
    throw new SyscallError("ptrace", E[0]);
  }
  const calls: Call[] = [];
  let isEntry = false;
  for (let signal = 0;;) {
    libc.ptrace(PTRACE_SYSCALL, pid, 0n, BigInt(signal));
    const status = wait(pid);
    if ((status & 0x7f) === 0) {
      if (status !== 0) throw new Error(`${args.join(" ")}: exit ${status >> 8}`);
      return { killed: false, calls };
    }
    if ((status & 0xff) !== 0x7f) throw new Error(`${args.join(" ")}: signal ${status & 0x7f}`);
    const stop = status >> 8 & 0xff;
    signal = stop === SIGTRAP || stop === (SIGTRAP | 0x80) ? 0 : stop;
    if (stop !== (SIGTRAP | 0x80)) continue;
    isEntry = !isEntry; // Each call is stopped at twice.
    const number = Number(libc.ptrace(PTRACE_PEEKUSER, pid, ORIG_RAX, 0n));
    if (!isEntry || !counts(number)) continue;
    if (calls.length === at) {
      libc.kill(pid, SIGKILL);
      while ((wait(pid) & 0x7f) === 0x7f); // a stop that was on its way
      // The kernel may let its files go a moment after its end is seen.
      while (Deno.readTextFileSync("/proc/locks").includes(` ${pid} `)) sleep(1);
      return { killed: true, calls };
    }
    calls.push({ number, request: libc.ptrace(PTRACE_PEEKUSER, pid, RSI, 0n) });
  }
}

/** Runs a program under strace; the names of its calls in order. */
export function strace(args: string[], log: string): string[] {
  const pid = spawn(args);
  expectStop(wait(pid, WUNTRACED), args);
  const tracer = spawn(["/usr/bin/strace", "-q", "-o", log, "-p", String(pid)]);
  while (!/^TracerPid:\t[1-9]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`))) sleep(5);
  libc.kill(pid, SIGCONT);
  wait(pid);
  wait(tracer);
  return [...Deno.readTextFileSync(log).matchAll(/^(\w+)\(/gm)].map(([, name]) => name);
}

function expectStop(status: number, args: string[]): void {
  if ((status & 0xff) !== 0x7f || status >> 8 !== SIGSTOP) {
    throw new Error(`${args.join(" ")} did not begin (status ${status.toString(16)})`);
  }
}

/** Starts a program in this thread, which so may trace it. */
function spawn(args: string[]): number {
  const pid = new Int32Array(1);
  const env = Object.entries(Deno.env.toObject()).map(([name, value]) => `${name}=${value}`);
  const [argv, keepArgv] = vector(args);
  const [envp, keepEnv] = vector(env);
  const result = libc.posix_spawn(
    new Uint8Array(pid.buffer),
    cstring(args[0]),
    null,
    null,
    argv,
    envp,
  );
  keepArgv.length = keepEnv.length = 0;
  if (result !== 0) throw new SyscallError("posix_spawn", result, args[0]);
  return pid[0];
}

/** `char *[]`, and what must not be collected while it is used. */
function vector(texts: string[]): [Uint8Array<ArrayBuffer>, unknown[]] {
  const strings = texts.map(cstring);
  const pointers = strings.map((text) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(text)));
  return [new Uint8Array(new BigUint64Array([...pointers, 0n]).buffer), strings];
}

const never = new Int32Array(new SharedArrayBuffer(4));
const sleep = (milliseconds: number) => Atomics.wait(never, 0, 0, milliseconds);

function wait(pid: number, options = 0): number {
  const status = new Int32Array(1);
  const EINTR = 4;
  while (libc.waitpid(pid, new Uint8Array(status.buffer), options) < 0) {
    if (E[0] !== EINTR) throw new SyscallError("waitpid", E[0]);
  }
  return status[0];
}
