/**
 * Runs of regular files of one directory, as jobs in memory that threads share.
 *
 * The thread that takes a run encodes its files one after the other to the run's own memory. It
 * encodes only plain files: with one name, not large, and of the type in the directory. In any
 * other case, such as a hard link, a warning or an error, the encoding ends without a trace: the
 * file is *left* to the main thread, which writes it in its turn.
 *
 * @module
 */
import type { Listing } from "../../../ffi/directory.ts";
import { type EntryName, entryNameIn } from "../../../ffi/entry_name.ts";
import type { IdMaps } from "../../base/id_maps.ts";
import { Control, CONTROL_BYTES } from "../../base/worker_control.ts";
import { EntryBuffer, SENDFILE_MIN } from "./entry_buffer.ts";
import { EntryWriter } from "./entry_writer.ts";
import { PathBytes } from "./path_bytes.ts";

/** The most files of a run, and the room for their entries, in bytes. */
export const RUN_MAX = 32;
const DATA = 512 << 10;
/** Room for the directory's path and the names. */
const INPUT = 16 << 10;

/** Runs that are being made or waiting at once. */
export const RUNS = 16;

// Words of a run.
/** One of the states below. */
const STATE = 0;
/** The directory's descriptor. */
const DIRECTORY = 1;
/** Bytes of the directory's path, which stands before the names. */
const PATH_LENGTH = 2;
const INPUT_LENGTH = 3;
const COUNT = 4;
/**
 * The end of each file's entry in the data; for a file that was left, the end of the entry before
 * it.
 */
const ENDS = 5;
const WORDS = ENDS + RUN_MAX;

const WAITING = 1, TAKEN = 2, DONE = 3;

/** The control, then each run's words, then each run's input and data. */
const BYTES = CONTROL_BYTES + RUNS * (WORDS * 4 + INPUT + DATA);

/** The memory that the threads of an export share. */
export class RunMemory {
  readonly control: Control;
  readonly runs: readonly Run[];

  constructor(readonly buffer = new SharedArrayBuffer(BYTES)) {
    this.control = new Control(buffer);
    this.runs = Array.from({ length: RUNS }, (_, i) => new Run(buffer, i));
  }
}

/**
 * One run: filled by the main thread, taken and encoded by one thread, emptied by the main thread.
 */
export class Run {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #input: Uint8Array<SharedArrayBuffer>;
  readonly data: Uint8Array<SharedArrayBuffer>;

  constructor(buffer: SharedArrayBuffer, index: number) {
    const inputs = CONTROL_BYTES + RUNS * WORDS * 4;
    this.#words = new Int32Array(buffer, CONTROL_BYTES + index * WORDS * 4, WORDS);
    this.#input = new Uint8Array(buffer, inputs + index * INPUT, INPUT);
    this.data = new Uint8Array(buffer, inputs + RUNS * INPUT + index * DATA, DATA);
  }

  /**
   * Describes `count` files, at most {@linkcode RUN_MAX}, from an index of a listing on, and offers
   * the run to both threads; false if there is not enough room.
   */
  offer(directory: number, path: Uint8Array, listing: Listing, from: number, count: number) {
    let at = path.length;
    if (at > INPUT) return false;
    this.#input.set(path);
    for (let i = from; i < from + count; i++) {
      const name = listing.name(i);
      if (at + name.length > INPUT) return false;
      this.#input.set(name, at);
      at += name.length;
    }
    const words = this.#words;
    words[DIRECTORY] = directory;
    words[PATH_LENGTH] = path.length;
    words[INPUT_LENGTH] = at;
    words[COUNT] = count;
    words.fill(0, ENDS);
    Atomics.store(words, STATE, WAITING);
    return true;
  }

  /** Takes a waiting run; false if another thread has. */
  take(): boolean {
    return Atomics.compareExchange(this.#words, STATE, WAITING, TAKEN) === WAITING;
  }

  /** For the thread that took it: it is encoded. */
  setDone(): void {
    Atomics.store(this.#words, STATE, DONE);
  }

  get isDone(): boolean {
    return Atomics.load(this.#words, STATE) === DONE;
  }

  get directory(): number {
    return this.#words[DIRECTORY];
  }

  get count(): number {
    return this.#words[COUNT];
  }

  /** Bytes of data up to and with a file's entry. */
  end(index: number): number {
    return this.#words[ENDS + index];
  }

  /** Whether no file was left. */
  get isWhole(): boolean {
    for (let i = 0, end = 0; i < this.count; end = this.end(i++)) {
      if (this.end(i) <= end) return false;
    }
    return true;
  }

  setEnd(index: number, end: number): void {
    this.#words[ENDS + index] = end;
  }

  /** Calls `use` with each file's name and path; the path is valid until it returns. */
  forEachFile(
    use: (name: EntryName, path: Uint8Array<ArrayBuffer>, index: number) => void,
  ): void {
    const input = this.#input.slice(0, this.#words[INPUT_LENGTH]);
    const path = new PathBytes(input.subarray(0, this.#words[PATH_LENGTH]));
    const parent = path.length;
    for (let i = 0, at = parent; i < this.count; i++) {
      const end = input.indexOf(0, at) + 1;
      const name = entryNameIn(input, at, end - 1);
      path.length = parent;
      path.push(name, false);
      use(name, path.view, i);
      at = end;
    }
  }
}

/**
 * The error that ends the encoding of a file that is left; one object for all, as it is always
 * caught.
 */
const LEFT = new Error("left to the main thread");

function leave(): never {
  throw LEFT;
}

/** The memory of a run as an output: files without room are left. */
class RunBuffer extends EntryBuffer {
  buffer: Uint8Array = new Uint8Array(0);
  length = 0;

  reserve(count: number): number {
    if (this.length + count > this.buffer.length) leave();
    const at = this.length;
    this.length += count;
    return at;
  }

  giveBack(count: number): void {
    this.length -= count;
  }

  file(fd: number, size: number): number {
    if (size >= SENDFILE_MIN || this.length + size > this.buffer.length) leave();
    return this.pad(size, this.read(fd, size));
  }

  finishPieces(): void {}
}

/** Encodes runs, on whichever thread. */
export class RunEncoder {
  readonly #buffer = new RunBuffer();
  readonly #writer: EntryWriter;

  constructor(idMaps: IdMaps) {
    const links = { find: leave, add: leave };
    // Attributes that an upper directory must not have are left to the main thread, which knows
    // whether this is one.
    this.#writer = new EntryWriter(this.#buffer, { idMaps, links, warn: leave, isUpper: true });
  }

  /** Encodes a run that this thread took. */
  encode(run: Run): void {
    const buffer = this.#buffer;
    buffer.buffer = run.data;
    buffer.length = 0;
    run.forEachFile((name, path, index) => {
      const start = buffer.length;
      try {
        this.#writer.file(run.directory, name, path);
      } catch {
        buffer.length = start;
      }
      run.setEnd(index, buffer.length);
    });
    run.setDone();
  }
}
