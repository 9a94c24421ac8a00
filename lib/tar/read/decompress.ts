/**
 * Decompression beside the apply: a Worker reads the input, decompresses, and writes into a pipe, which the
 * applying thread reads as it would any other stream. Both block in system calls; nobody waits for an event.
 *
 * What goes wrong in the Worker is written to shared memory before the pipe is closed, so that the reader,
 * at what looks like the end, learns whether it is one.
 *
 * @module
 */
import { close, pipe, trySetPipeSize } from "../../../ffi/files.ts";
import { VeneerError } from "../../base/errors.ts";

/** What is recognised and decompressed. */
export type Compression = "gzip" | "zstd";

/** What the Worker is told. */
export interface DecompressJob {
  readonly compression: Compression;
  /** Read from its current position. */
  readonly input: number;
  /** The pipe's end to write to, which the Worker closes. */
  readonly output: number;
  /** What was read of a stream already. */
  readonly head: Uint8Array<ArrayBuffer>;
  readonly status: SharedArrayBuffer;
}

// The shared memory: a state and the length of a message (i32 each), then the message.
export const STATE = 0;
export const MESSAGE_LENGTH = 1;
export const MESSAGE = 8;
const STATUS_SIZE = 1024;
export const IDLE = 0, RUNNING = 1, DONE = 2, FAILED = 3;

/** 1 MiB: what an unprivileged process may have (`/proc/sys/fs/pipe-max-size`). */
const PIPE_SIZE = 1 << 20;
/** A Worker starts in about 10 ms; one that has not in this time (in ms) never will. */
const START_TIMEOUT = 30_000;

/** A running decompression. */
export class Decompressor {
  readonly compression: Compression;
  /** The descriptor to read the plain bytes from; this object closes it. */
  readonly output: number;
  readonly #worker: Worker;
  readonly #status = new SharedArrayBuffer(STATUS_SIZE);
  readonly #state = new Int32Array(this.#status, 0, 2);
  #closed = false;

  /**
   * @param input a descriptor open for reading, which stays the caller's
   * @param head  what was read of it already
   */
  constructor(compression: Compression, input: number, head: Uint8Array<ArrayBuffer>) {
    this.compression = compression;
    const { readable, writable } = pipe();
    trySetPipeSize(readable, PIPE_SIZE);
    this.output = readable;
    this.#worker = new Worker(new URL("./decompress_worker.ts", import.meta.url), {
      type: "module",
    });
    const job: DecompressJob = {
      compression,
      input,
      output: writable,
      head,
      status: this.#status,
    };
    this.#worker.postMessage(job);
    if (Atomics.wait(this.#state, STATE, IDLE, START_TIMEOUT) === "timed-out") {
      close(writable);
      this.close();
      throw new VeneerError("failed", "tar: the decompressor did not start");
    }
  }

  /** To be asked when the output has ended. @throws {VeneerError} `invalid argument` for damaged input */
  check(): void {
    if (Atomics.load(this.#state, STATE) !== FAILED) return;
    const bytes = new Uint8Array(this.#status, MESSAGE, Atomics.load(this.#state, MESSAGE_LENGTH));
    const reason = new TextDecoder().decode(bytes.slice());
    throw new VeneerError(
      "invalid argument",
      `tar: the ${this.compression} input is damaged or cut short: ${reason}`,
    );
  }

  /** Ends it, whether it is done or not. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A Worker that is blocked in a write to the pipe gets EPIPE, and comes to its end.
    close(this.output);
    this.#worker.terminate();
  }
}
