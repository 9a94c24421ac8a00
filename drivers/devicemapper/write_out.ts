/**
 * Syncs a file system in a Worker, so that the caller can watch the pool meanwhile: if the pool is
 * full, the kernel may block `syncfs(2)` until space is added.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { Control } from "../../lib/base/worker_control.ts";

/** The Worker's first message. */
export interface WriteOutJob {
  /** A descriptor of a directory of the file system, opened before the data to sync was written. */
  readonly directory: number;
  /**
   * Whether `syncfs` reports failed writes; if it does not, every file is synced, which is slow.
   */
  readonly syncfsTells: boolean;
  /** The memory of a {@linkcode Control}, whose result is 0 or an error number. */
  readonly control: SharedArrayBuffer;
}

/** The time between two calls of `glance`, in milliseconds. */
const GLANCE = 250;

/**
 * Writes a file system out, and reports writes that failed since `directory` was opened.
 *
 * @param directory a descriptor, which the caller closes
 * @param syncfsTells whether this kernel's `syncfs` reports such failures (Linux 5.8)
 * @param glance called repeatedly during the sync with the milliseconds so far; it may throw to end
 * the wait
 * @throws {SyscallError} of `syncfs`, if data could not be written
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
