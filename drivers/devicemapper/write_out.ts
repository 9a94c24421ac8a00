/**
 * Writing a file system out beside the caller, which can look at what it waits for: on a device that has no
 * room, the kernel may hold `syncfs(2)` up for as long as somebody may give it some.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { Control } from "../../lib/base/worker_control.ts";

/** What the Worker is told at its start. */
export interface WriteOutJob {
  /** A descriptor of a directory of the file system, opened before what is to be written out was written. */
  readonly directory: number;
  /** Whether `syncfs` tells of writes that failed; else every file is asked, which is slow. */
  readonly syncfsTells: boolean;
  /** Of a {@linkcode Control}, whose result is 0 or an error number. */
  readonly control: SharedArrayBuffer;
}

/** How often the caller looks, in milliseconds. */
const GLANCE = 250;

/**
 * Writes a file system out, and tells of writes to it that failed since `directory` was opened.
 *
 * @param directory a descriptor, which stays the caller's
 * @param syncfsTells whether this kernel's `syncfs` reports such failures (Linux 5.8)
 * @param glance called again and again while it lasts, with the milliseconds so far; may throw, to
 * wait no more
 * @throws {SyscallError} `syncfs`, if something could not be written
 */
export function writeOut(
  directory: number,
  syncfsTells: boolean,
  glance: (elapsed: number) => void,
): void {
  const control = new Control();
  const worker = new Worker(new URL("./write_out_worker.ts", import.meta.url), { type: "module" });
  try {
    const job: WriteOutJob = { directory, syncfsTells, control: control.buffer };
    worker.postMessage(job);
    const started = performance.now();
    while (!control.waitForEnd(GLANCE)) glance(performance.now() - started);
  } finally {
    worker.terminate();
  }
  if (control.result !== 0) throw new SyscallError("syncfs", control.result);
}
