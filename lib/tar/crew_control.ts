/**
 * How the main thread and a Worker that helps it tell each other that there is something to do, that
 * something is done, and that it is over: words of shared memory, by `Atomics`.
 *
 * Both threads block in system calls and in `Atomics.wait`, so neither gets a message while it works.
 *
 * @module
 */

/** One of the states below. */
export const STATE = 0;
/** Changes whenever the worker has a reason to look: what it waits on. */
export const SIGNAL = 1;
/** Jobs handed over, ever. */
export const PUSHED = 2;
/** Jobs done, ever. */
export const DONE = 3;
/** 1 when there will be no more jobs, and those that are left are not to be done. */
export const STOP = 4;
/** Changes when something was done and after {@linkcode STATE}: what the main thread waits on. */
export const BACK = 5;
export const WORDS = 8;

export const IDLE = 0, RUNNING = 1, STOPPED = 2, FAILED = 3, CANCELLED = 4;

/** Makes the worker look. */
export function signalWorker(control: Int32Array): void {
  Atomics.add(control, SIGNAL, 1);
  Atomics.notify(control, SIGNAL);
}

/** Makes the main thread look. */
export function signalBack(control: Int32Array): void {
  Atomics.add(control, BACK, 1);
  Atomics.notify(control, BACK);
}

/** In the Worker: whether it may begin; not where all was done before its thread was there. */
export function beginWork(control: Int32Array): boolean {
  return Atomics.compareExchange(control, STATE, IDLE, RUNNING) === IDLE;
}

/** In the Worker: it does nothing more. */
export function endWork(control: Int32Array, state: typeof STOPPED | typeof FAILED): void {
  Atomics.store(control, STATE, state);
  Atomics.notify(control, STATE);
  signalBack(control);
}

/** In the main thread: ends the Worker after the file it is at; nothing is in its hands afterwards. */
export function endWorker(control: Int32Array<SharedArrayBuffer>, worker: Worker): void {
  Atomics.store(control, STOP, 1);
  signalWorker(control);
  const state = Atomics.compareExchange(control, STATE, IDLE, CANCELLED);
  if (state === RUNNING) Atomics.wait(control, STATE, RUNNING);
  worker.terminate();
}
