/**
 * How a thread and a Worker that helps it tell each other that there is something to do, that
 * something is done, and that it is over: words of shared memory, by `Atomics`.
 *
 * Both threads block in system calls and in `Atomics.wait`, so neither gets a message while it
 * works.
 *
 * @module
 */

// Words of the memory.
/** The index of one of {@linkcode STATES}. */
const STATE = 0;
/** The word that the Worker waits on: changes whenever there is a reason for it to look. */
const SIGNAL = 1;
/** Jobs handed over, ever. */
const PUSHED = 2;
/** Jobs done, ever. */
const DONE = 3;
/** 1 when there will be no more jobs and the remaining ones must not be done. */
const STOP = 4;
/**
 * The word that the starting thread waits on: changes when a job was done, and at the end of the
 * Worker.
 */
const PROGRESS = 5;
/** A number that the Worker leaves at its end. */
const RESULT = 6;
const WORDS = 8;

/** Bytes of the memory. */
export const CONTROL_BYTES = 4 * WORDS;

const STATES = ["idle", "running", "done", "failed", "cancelled"] as const;

/**
 * The state of a Worker: `idle` until it begins, `running` until it ends as `done` or `failed`;
 * `cancelled` if it was ended before it began, after which it never does.
 */
export type WorkerState = typeof STATES[number];

const IDLE = STATES.indexOf("idle"), RUNNING = STATES.indexOf("running");
const CANCELLED = STATES.indexOf("cancelled");

/**
 * The shared memory of a Worker and the thread that started it; each has an object of its own over
 * it.
 */
export class Control {
  readonly #words: Int32Array<SharedArrayBuffer>;

  /**
   * @param buffer memory that both threads share, zeros at the beginning
   * @param offset the start of the {@linkcode CONTROL_BYTES} of this object in it: a multiple of 4
   */
  constructor(buffer = new SharedArrayBuffer(CONTROL_BYTES), offset = 0) {
    this.#words = new Int32Array(buffer, offset, WORDS);
  }

  get buffer(): SharedArrayBuffer {
    return this.#words.buffer;
  }

  get state(): WorkerState {
    return STATES[Atomics.load(this.#words, STATE)];
  }

  // For the thread that started the Worker.

  /** Tells the Worker that so many jobs were handed over, ever. */
  push(jobs: number): void {
    Atomics.store(this.#words, PUSHED, jobs);
    this.#wake(SIGNAL);
  }

  /** How many jobs are done, ever. */
  get done(): number {
    return Atomics.load(this.#words, DONE);
  }

  /**
   * A number that changes with each job that is done and at the Worker's end: see
   * {@linkcode waitPast}.
   */
  get progress(): number {
    return Atomics.load(this.#words, PROGRESS);
  }

  /** Waits until {@linkcode progress} differs from this number. */
  waitPast(progress: number): void {
    Atomics.wait(this.#words, PROGRESS, progress);
  }

  /** Waits until the Worker has begun; false if it has not within so many milliseconds. */
  waitForBegin(milliseconds: number): boolean {
    return Atomics.wait(this.#words, STATE, IDLE, milliseconds) !== "timed-out";
  }

  /** Waits until the Worker is at its end; false if it is not within so many milliseconds. */
  waitForEnd(milliseconds = Infinity): boolean {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      const state = Atomics.load(this.#words, STATE);
      if (state !== IDLE && state !== RUNNING) return true;
      const left = deadline - performance.now();
      if (Atomics.wait(this.#words, STATE, state, left) === "timed-out") return false;
    }
  }

  /** The number that the Worker gave to {@linkcode finish}; 0 before. */
  get result(): number {
    return Atomics.load(this.#words, RESULT);
  }

  /** Keeps the Worker from beginning; false if it has begun. */
  cancel(): boolean {
    const before = Atomics.compareExchange(this.#words, STATE, IDLE, CANCELLED);
    return before === IDLE || before === CANCELLED;
  }

  /** Tells the Worker that it need not go on. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
    this.#wake(SIGNAL);
  }

  /** Ends the Worker after the job it is at: afterwards it uses nothing that it was given. */
  end(worker: Worker): void {
    this.stop();
    if (!this.cancel()) this.waitForEnd();
    worker.terminate();
  }

  // For the Worker.

  /** Whether it may begin: false if it was cancelled before. */
  begin(): boolean {
    if (Atomics.compareExchange(this.#words, STATE, IDLE, RUNNING) !== IDLE) return false;
    Atomics.notify(this.#words, STATE);
    return true;
  }

  /** Whether it need not go on. */
  get isStopped(): boolean {
    return Atomics.load(this.#words, STOP) === 1;
  }

  /** Waits for the job after so many; false if no jobs are left to do. */
  waitForJob(done: number): boolean {
    for (;;) {
      const signal = Atomics.load(this.#words, SIGNAL);
      if (this.isStopped) return false;
      if (Atomics.load(this.#words, PUSHED) !== done) return true;
      Atomics.wait(this.#words, SIGNAL, signal);
    }
  }

  /** How many jobs were handed over, ever. */
  get pushed(): number {
    return Atomics.load(this.#words, PUSHED);
  }

  /** Tells that so many jobs are done, ever. */
  complete(jobs: number): void {
    Atomics.store(this.#words, DONE, jobs);
    this.#wake(PROGRESS);
  }

  /** Tells that the Worker does nothing more; `result` is a number for the other thread. */
  finish(state: "done" | "failed", result = 0): void {
    Atomics.store(this.#words, RESULT, result);
    Atomics.store(this.#words, STATE, STATES.indexOf(state));
    Atomics.notify(this.#words, STATE);
    this.#wake(PROGRESS);
  }

  #wake(word: typeof SIGNAL | typeof PROGRESS): void {
    Atomics.add(this.#words, word, 1);
    Atomics.notify(this.#words, word);
  }
}
