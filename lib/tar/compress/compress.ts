/**
 * Compression beside the writing of a tar: the tar is written into a pipe, and Workers, one for
 * each processor, read it block by block, compress, and write to the output in order. For zstd one
 * Worker feeds libzstd, if it is installed, which has threads of its own.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { close, LARGEST_PIPE, pipe, trySetPipeSize } from "../../../ffi/files.ts";
import { ZstdPacker } from "../../../ffi/zstd.ts";
import { VeneerError } from "../../base/errors.ts";
import { START_TIMEOUT, WorkerMemory } from "../../base/worker_memory.ts";
import type { Compression } from "../read/compression.ts";
import { Turns } from "./turns.ts";

/** A Worker's first message. */
export interface CompressJob {
  readonly compression: Compression;
  /** The pipe's end for reading: see {@linkcode Turns}. */
  readonly input: number;
  readonly output: number;
  /** How many threads libzstd compresses by; 0 without it. */
  readonly threads: number;
  /** The memory of {@linkcode Turns}. */
  readonly turns: SharedArrayBuffer;
  /** See {@linkcode WorkerMemory}. */
  readonly memory: SharedArrayBuffer;
}

/** The text that a Worker leaves if it fails. */
export interface Failure {
  readonly reason: string;
  /** The parts of a {@linkcode SyscallError}. */
  readonly call?: { readonly syscall: string; readonly errno: number; readonly path?: string };
}

/** More would wait for the one thread that writes the tar; each takes about 20 MB. */
const MOST_WORKERS = 8;

/**
 * Compresses what `write` writes.
 *
 * @param output stays the caller's; nothing is written to it any more after the return
 * @param write gets the end of a pipe, which it does not close
 * @param workers how many threads; the output is the same for each number
 * @param hasLibrary whether libzstd is used
 * @returns the result of `write`
 * @throws {SyscallError} if the output cannot be written to, and what `write` throws
 */
export function compressing<T>(
  compression: Compression,
  output: number,
  write: (fd: number) => T,
  workers = Math.min(navigator.hardwareConcurrency, MOST_WORKERS),
  hasLibrary = compression === "zstd" && ZstdPacker.isAvailable(),
): T {
  using compressor = new Compressor(compression, output, workers, hasLibrary);
  let result: T;
  try {
    result = write(compressor.input);
  } catch (error) {
    compressor.stop();
    throw compressor.failure() ?? error;
  }
  compressor.end();
  return result;
}

/** A running compression. */
class Compressor implements Disposable {
  /** The pipe's end to write to. */
  readonly input: number;
  readonly #turns: Turns;
  readonly #workers: { readonly worker: Worker; readonly memory: WorkerMemory }[] = [];
  #isOpen = true;

  constructor(
    compression: Compression,
    output: number,
    workers: number,
    hasLibrary: boolean,
  ) {
    const { readable, writable } = pipe();
    trySetPipeSize(readable, LARGEST_PIPE);
    this.input = writable;
    this.#turns = new Turns(readable);
    const url = new URL("./compress_worker.ts", import.meta.url), { buffer: turns } = this.#turns;
    // libzstd has threads of its own.
    const threads = hasLibrary ? workers : 0;
    for (let i = 0; i < (threads > 0 ? 1 : workers); i++) {
      const worker = new Worker(url, { type: "module" }), memory = new WorkerMemory();
      this.#workers.push({ worker, memory });
      const { buffer } = memory;
      worker.postMessage(
        {
          compression,
          input: readable,
          output,
          threads,
          turns,
          memory: buffer,
        } satisfies CompressJob,
      );
    }
    // One is enough: nobody reads the pipe if none of them starts.
    if (!this.#workers[0].memory.control.waitForBegin(START_TIMEOUT)) {
      this[Symbol.dispose]();
      throw new VeneerError("failed", "tar: the compressor did not start");
    }
  }

  /** Ends the stream, and waits until it is written. @throws {SyscallError} */
  end(): void {
    this.#leave();
    const failure = this.failure();
    if (failure !== undefined) throw failure;
  }

  /** Ends without the rest of the stream. */
  stop(): void {
    this.#turns.fail();
    this.#leave();
  }

  /** The first Worker's error; `undefined` if none has any. To be called after the end. */
  failure(): unknown {
    for (const { memory } of this.#workers) {
      const [failure] = memory.text.take() as Failure[];
      if (failure?.call !== undefined) {
        const { syscall, errno, path } = failure.call;
        return new SyscallError(syscall, errno, path);
      }
      if (failure !== undefined) {
        return new VeneerError("failed", `tar: it cannot be compressed: ${failure.reason}`);
      }
    }
    return undefined;
  }

  /** Closes the pipe, and waits for the Workers that have begun. */
  #leave(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    close(this.input);
    for (const { worker, memory: { control } } of this.#workers) {
      // The first one has begun, and reads to the end if it is alone.
      if (!control.cancel()) control.waitForEnd();
      worker.terminate();
    }
    this.#turns.closeInput();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
