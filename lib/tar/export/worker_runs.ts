/**
 * The main thread's side of an export with two threads.
 *
 * The main thread walks the tree and writes the tar; runs of regular files it puts in a queue. The
 * Worker encodes them from the front of the queue. The main thread, when it can go no further
 * without the first of them, encodes runs from the back until that one is done: so both threads are
 * busy, however fast each is. The tar is that of one thread, byte for byte, as are the warnings.
 *
 * @module
 */
import type { Listing } from "../../../ffi/directory.ts";
import { close, duplicate } from "../../../ffi/files.ts";
import type { IdRange } from "../../base/id_maps.ts";
import { EntryWriter, type TarContext } from "./entry_writer.ts";
import { type Run, RunEncoder, RunMemory, RUNS } from "./export_runs.ts";
import type { TarOutput } from "./output.ts";

/** The Worker's first message. */
export interface ExportJob {
  readonly buffer: SharedArrayBuffer;
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/**
 * After this many files an export is taken for a large one: a Worker's start costs as much as 1500.
 */
export const WORTH_A_WORKER = 2000;

/** Files that are worth handing over: a run costs as much as one of them. */
const RUN_MIN = 6;

/** A Worker, and the runs in flight. */
export class WorkerRuns {
  readonly #output: TarOutput;
  readonly #context: TarContext;
  readonly #encoder: RunEncoder;
  /**
   * Writes the files that are left. Not the writer of the walk, which may be in the middle of an
   * entry.
   */
  readonly #writer: EntryWriter;
  #memory: RunMemory | undefined;
  #worker: Worker | undefined;
  #files = 0;
  /** Runs ever queued and ever finished; a run's place is its number modulo {@linkcode RUNS}. */
  #queued = 0;
  #finished = 0;

  constructor(output: TarOutput, context: TarContext) {
    this.#output = output;
    this.#context = context;
    this.#encoder = new RunEncoder(context.idMaps);
    this.#writer = new EntryWriter(output, context);
  }

  /**
   * Makes `count` files, at most `RUN_MAX`, from an index of a listing on, the next part of the
   * tar; false if the caller is to write them itself.
   */
  queue(
    directory: number,
    path: Uint8Array,
    listing: Listing,
    from: number,
    count: number,
  ): boolean {
    if (count < RUN_MIN || !this.#isHelped(count)) return false;
    if (this.#queued - this.#finished === RUNS) this.#output.finishPiece();
    const { control, runs } = this.#memory!;
    const run = runs[this.#queued % RUNS];
    const fd = duplicate(directory);
    if (!run.offer(fd, path, listing, from, count)) {
      close(fd);
      return false;
    }
    control.push(++this.#queued);
    this.#output.insert({ isDone: () => run.isDone, finish: () => this.#finish(run) });
    return true;
  }

  /** Whether there is a Worker at work; starts one once it pays. */
  #isHelped(count: number): boolean {
    if (this.#memory) return this.#memory.control.state === "running";
    this.#files += count;
    if (this.#files >= WORTH_A_WORKER) this.#startWorker();
    return false;
  }

  #startWorker(): void {
    const { uids, gids } = this.#context.idMaps;
    const { buffer } = this.#memory = new RunMemory();
    this.#worker = new Worker(new URL("./export_worker.ts", import.meta.url), { type: "module" });
    const job: ExportJob = { buffer, uids: uids.ranges, gids: gids.ranges };
    this.#worker.postMessage(job);
  }

  /** Waits for the first run, making later ones meanwhile, and puts it out. */
  #finish(run: Run): void {
    const { control } = this.#memory!;
    while (!run.isDone) {
      const { progress } = control;
      const other = this.#takeLast();
      if (other) this.#encoder.encode(other);
      else if (control.state !== "running") break; // It has died: its files are left.
      else if (!run.isDone) control.waitPast(progress);
    }
    this.#putOut(run);
    close(run.directory);
    this.#finished++;
  }

  /** Takes the run that the Worker would come to last. */
  #takeLast(): Run | undefined {
    for (let number = this.#queued - 1; number >= this.#finished; number--) {
      const run = this.#memory!.runs[number % RUNS];
      if (run.take()) return run;
    }
    return undefined;
  }

  /** Writes the encoded entries, and between them the files that were left. */
  #putOut(run: Run): void {
    let put = 0, end = 0;
    const putUpToEnd = () => {
      this.#output.put(run.data.subarray(put, end));
      put = end;
    };
    if (run.isWhole) end = run.end(run.count - 1);
    else {
      run.forEachFile((name, path, index) => {
        if (run.end(index) > end) {
          end = run.end(index);
        } else {
          putUpToEnd();
          this.#output.aside(() => this.#writer.file(run.directory, name, path));
        }
      });
    }
    putUpToEnd();
  }

  /** Ends the Worker after the file it is at. Descriptors stay open until it has ended. */
  close(): void {
    if (!this.#memory || !this.#worker) return;
    const { control, runs } = this.#memory;
    control.end(this.#worker);
    while (this.#finished < this.#queued) close(runs[this.#finished++ % RUNS].directory);
  }
}
