/**
 * Decompression beside the apply: a Worker reads the input, decompresses, and writes into a pipe,
 * which the applying thread reads like any other stream. Both block in system calls; no thread
 * waits for an event.
 *
 * An error in the Worker is written to shared memory before the pipe is closed, so that the reader
 * knows at the end of the pipe whether the input ended there.
 *
 * @module
 */
import { close, LARGEST_PIPE, pipe, trySetPipeSize } from "../../../ffi/files.ts";
import { VeneerError } from "../../base/errors.ts";
import { START_TIMEOUT, WorkerMemory } from "../../base/worker_memory.ts";
import type { Compression } from "./compression.ts";
import { EXPANDS } from "./expansion.ts";

/** The Worker's first message. */
export interface DecompressJob {
  readonly compression: Compression;
  /** Read from its current position. */
  readonly input: number;
  /** The pipe's end to write to, which the Worker closes. */
  readonly output: number;
  /** The bytes that were read of a stream already. */
  readonly head: Uint8Array<ArrayBuffer>;
  /** Whether input that expands more than a thousandfold is refused: see `expansion.ts`. */
  readonly isBounded: boolean;
  /** See {@linkcode WorkerMemory}. */
  readonly memory: SharedArrayBuffer;
}

/** A running decompression. */
export class Decompressor {
  readonly compression: Compression;
  /** The descriptor to read the plain bytes from; this object closes it. */
  readonly output: number;
  readonly #worker: Worker;
  /** The pipe's end to write to: the Worker's from its beginning on. */
  readonly #input: number;
  readonly #memory = new WorkerMemory();
  #reason: string | undefined;
  #closed = false;

  /**
   * @param input a descriptor open for reading, which stays the caller's
   * @param head  the bytes read of it already
   * @param isBounded see {@linkcode DecompressJob}
   */
  constructor(
    compression: Compression,
    input: number,
    head: Uint8Array<ArrayBuffer>,
    isBounded = false,
  ) {
    this.compression = compression;
    const { readable, writable } = pipe();
    trySetPipeSize(readable, LARGEST_PIPE);
    this.output = readable;
    this.#input = writable;
    this.#worker = new Worker(new URL("./decompress_worker.ts", import.meta.url), {
      type: "module",
    });
    const job: DecompressJob = {
      compression,
      input,
      output: writable,
      head,
      isBounded,
      memory: this.#memory.buffer,
    };
    this.#worker.postMessage(job);
    if (!this.#memory.control.waitForBegin(START_TIMEOUT)) {
      this.close();
      throw new VeneerError("failed", "tar: the decompressor did not start");
    }
  }

  /**
   * To be asked when the output has ended.
   *
   * @throws {VeneerError} `invalid argument` for damaged input
   */
  check(): void {
    if (this.#memory.control.state !== "failed") return;
    this.#reason ??= String(this.#memory.text.take()[0]);
    if (this.#reason === EXPANDS) {
      throw new VeneerError("invalid argument", `tar: the ${this.compression} input: ${EXPANDS}`, {
        remedy: { kind: "allow expansion" },
      });
    }
    throw new VeneerError(
      "invalid argument",
      `tar: the ${this.compression} input is damaged or cut short: ${this.#reason}`,
    );
  }

  /** Ends it, whether it is done or not. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A Worker that is blocked in a write to the pipe gets EPIPE, and comes to its end.
    close(this.output);
    if (this.#memory.control.cancel()) close(this.#input);
    this.#worker.terminate();
  }
}
