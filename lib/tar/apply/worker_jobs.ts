/**
 * The main thread's side of an apply with two threads.
 *
 * The main thread reads headers and makes everything but regular files itself; of the regular files
 * it hands those of whole directories to a Worker (two threads that make files in one directory
 * wait for its lock), as much as the Worker keeps up with, and makes the others itself.
 *
 * The result must be that of one thread. The Worker makes a file only if nothing of that name is;
 * if something is, it answers so, and the main thread does it over, in order. And the main thread
 * makes, removes or links nothing under a name that is in flight: it *drains* the Worker's jobs
 * first.
 *
 * @module
 */
import type { EntryName } from "../../../ffi/entry_name.ts";
import { close } from "../../../ffi/files.ts";
import { fstat } from "../../../ffi/stat.ts";
import type { IdMaps, IdRange } from "../../base/id_maps.ts";
import type { Attributes } from "./attributes.ts";
import { JobMemory, RING } from "./job_memory.ts";
import type { Entry } from "../read/entry.ts";
import { hash } from "./entry_set.ts";
import type { Directory } from "./known_directories.ts";
import type { TarFile, Window } from "../read/window.ts";

/** The Worker's first message. */
export interface ApplyJob {
  readonly buffer: SharedArrayBuffer;
  /** The tar: a regular file, and the offset of the tar in it, in bytes. */
  readonly input: number;
  readonly base: number;
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** Below this much input, in bytes, starting a Worker (10 ms) costs more than it gains. */
export const WORTH_A_WORKER = 8 << 20;

/**
 * A directory goes to the Worker while it has less than this to do; a file weighs 1 and 1 more each
 * 16 KiB.
 */
const ENOUGH_WEIGHT = 256;
const WEIGHT_SHIFT = 14;

/** Places of the table of names in flight. */
const NAMES = 1 << 16;

/** A Worker and the jobs that it was handed. */
export class WorkerJobs {
  readonly #memory = new JobMemory();
  readonly #worker: Worker;
  readonly #attributes: Attributes;
  /** Does the entry at an offset over, on this thread. */
  readonly #redo: (offset: number) => void;
  #pushed = 0;
  /** Jobs whose answers were read. */
  #collected = 0;
  readonly #refused: number[] = [];
  readonly #weights = new Float64Array(RING);
  #weight = 0;
  /** Names in flight: half of their hash, and their job's number. */
  readonly #hashes = new Uint32Array(NAMES);
  readonly #jobs = new Int32Array(NAMES);
  /** Directories that were released, and that jobs in flight still use. */
  #released: Directory[] = [];
  /** The directory that files are handed over of, or kept of. */
  #current: Directory | undefined;
  #isHandedOver = false;

  /**
   * Starts a Worker for a tar if it pays: it must be able to read by offset, and to repay its
   * start.
   *
   * @param redo applies the entry at an offset on the calling thread
   */
  static start(
    { file }: Window,
    idMaps: IdMaps,
    attributes: Attributes,
    redo: (offset: number) => void,
  ): WorkerJobs | undefined {
    if (file === undefined || fstat(file.fd).size - file.base < WORTH_A_WORKER) return undefined;
    return new WorkerJobs(file, idMaps, attributes, redo);
  }

  private constructor(
    { fd, base }: TarFile,
    { uids, gids }: IdMaps,
    attributes: Attributes,
    redo: (offset: number) => void,
  ) {
    this.#attributes = attributes;
    this.#redo = redo;
    this.#worker = new Worker(new URL("./apply_worker.ts", import.meta.url), { type: "module" });
    const job: ApplyJob = {
      buffer: this.#memory.buffer,
      input: fd,
      base,
      uids: uids.ranges,
      gids: gids.ranges,
    };
    this.#worker.postMessage(job);
  }

  /**
   * Hands a regular file over; false if the caller is to make it (and to look its directory up
   * again).
   */
  take(entry: Entry, directory: Directory): boolean {
    if (directory !== this.#current) {
      if (this.collect()) return false;
      this.#current = directory;
      this.#isHandedOver = this.#isRunning && this.#weight < ENOUGH_WEIGHT;
    }
    if (!this.#isHandedOver) return false;
    if (this.#pushed - this.#collected === RING) {
      if (this.collect() || this.#pushed - this.#collected === RING) return false;
    }
    if (!this.#note(directory.identity, entry.name)) return false;
    this.#push(entry, directory);
    return true;
  }

  #push(entry: Entry, directory: Directory): void {
    const { control, offsets, directories, inherits, answers } = this.#memory;
    const place = this.#pushed % RING;
    offsets[place] = entry.offset;
    directories[place] = directory.fd;
    inherits[place] = directory.inherits ? 1 : 0;
    answers[place] = 0;
    const weight = 1 + Math.floor(entry.size / (1 << WEIGHT_SHIFT));
    this.#weights[place] = weight;
    this.#weight += weight;
    directory.lastJob = ++this.#pushed;
    control.push(this.#pushed);
  }

  get #isRunning(): boolean {
    return this.#memory.control.state === "running";
  }

  /** Enters a name in the table; false if its place is taken by another name in flight. */
  #note(directory: bigint, name: EntryName): boolean {
    const [low, high] = hash(directory, name);
    const place = low % NAMES;
    if (this.#jobs[place] > this.#collected && this.#hashes[place] !== high) return false;
    this.#hashes[place] = high;
    this.#jobs[place] = this.#pushed + 1;
    return true;
  }

  /**
   * Makes sure that no file of this name is in flight.
   *
   * @returns whether it had to drain, after which directories must be looked up again
   */
  drainName(directory: bigint, name: EntryName): boolean {
    const [low, high] = hash(directory, name);
    const place = low % NAMES;
    if (this.#jobs[place] <= this.#collected || this.#hashes[place] !== high) return false;
    this.drain();
    return true;
  }

  /**
   * Looks at the answers so far, and drains if the Worker could not make a file.
   *
   * @returns whether it drained
   * @throws the Worker's error
   */
  collect(): boolean {
    this.#gather();
    if (this.#refused.length === 0) return false;
    this.drain();
    return true;
  }

  /**
   * Waits until everything handed over is on disk. Directories must be looked up again afterwards:
   * a job done again may have replaced one.
   *
   * @throws the Worker's error
   */
  drain(): void {
    const { control } = this.#memory;
    for (;;) {
      const { progress } = control;
      this.#gather();
      if (this.#collected === this.#pushed) break;
      control.waitPast(progress);
    }
    for (const [kind, message] of this.#memory.takeWarnings()) {
      this.#attributes.warnOnce(kind, message);
    }
    for (const offset of this.#refused.splice(0)) this.#redo(offset);
  }

  #gather(): void {
    const { control, answers, offsets } = this.#memory;
    const { done } = control;
    for (; this.#collected < done; this.#collected++) {
      const place = this.#collected % RING;
      this.#weight -= this.#weights[place];
      if (answers[place] !== 0) this.#refused.push(offsets[place]);
    }
    if (control.state === "failed") throw this.#memory.takeError();
    if (this.#released.length > 0) this.#closeReleased();
  }

  /** Closes a directory's descriptor once no job needs it. */
  release(directory: Directory): void {
    if (directory === this.#current) this.#current = undefined;
    if (directory.lastJob > this.#collected) this.#released.push(directory);
    else close(directory.fd);
  }

  #closeReleased(): void {
    this.#released = this.#released.filter((directory) => {
      if (directory.lastJob > this.#collected) return true;
      close(directory.fd);
      return false;
    });
  }

  /** Ends the Worker after the file it is at. Descriptors stay open until it has ended. */
  close(): void {
    this.#memory.control.end(this.#worker);
    this.#collected = this.#pushed;
    this.#closeReleased();
  }
}
