/**
 * Reads a layer for a snapshot: a Worker reads its file, decompresses it into a pipe, and hashes
 * both streams. At the end the thread that reads the pipe gets the digests.
 *
 * If the reader closes the pipe, the Worker still reads to the end of the file: a tar may end
 * before its file, and the digests are those of the whole file.
 *
 * @module
 */
import { close, LARGEST_PIPE, pipe, pread, trySetPipeSize } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import { START_TIMEOUT, WorkerMemory } from "../base/worker_memory.ts";
import { BLOCK } from "../tar/header.ts";
import { type Compression, compressionOf } from "../tar/read/compression.ts";
import type { DecompressOptions } from "../tar/read/decompress.ts";
import { EXPANDS } from "../tar/read/expansion.ts";
import { type Algorithm, parseDigest } from "./digest.ts";
import type { FoundLayer } from "./found_image.ts";
import { badImage } from "./json.ts";
import type { ImageFile } from "./source.ts";

/** How a layer is read. */
export interface LayerStreamOptions extends DecompressOptions {
  /** Whether the record keeps the content of all files; false by default. */
  readonly keepsAll?: boolean;
}

/** The Worker's first message. */
export interface LayerJob extends LayerStreamOptions {
  readonly compression: Compression | undefined;
  /** The algorithm of the digest of the file in the source. */
  readonly algorithm: Algorithm;
  readonly fd: number;
  /** In bytes, like `size`. */
  readonly offset: number;
  readonly size: number;
  /** The pipe's end for writing; the Worker closes it. */
  readonly output: number;
  /** The file for the record of the tar. */
  readonly record: number;
  /** See {@linkcode WorkerMemory}. */
  readonly memory: SharedArrayBuffer;
}

/** The results of the Worker. */
export interface LayerSums {
  /** The digest of the file in the source. */
  readonly file: string;
  /** The digest of the plain tar, including the bytes behind its end. */
  readonly plain: string;
  /** The size of the plain tar, in bytes. */
  readonly size: number;
  /** See `PathConflicts.others`. */
  readonly others?: readonly string[];
  /** The reason why it cannot be decompressed, if there is one. */
  readonly failure?: string;
}

/** A layer that is being read. */
export class LayerStream implements Disposable {
  /** The descriptor to read the plain tar from; this object closes it. */
  readonly output: number;
  /** The file for the record of its tar; this object closes it. */
  readonly record: number;
  readonly #layer: FoundLayer;
  readonly #file: ImageFile;
  readonly #worker: Worker;
  readonly #input: number;
  readonly #memory = new WorkerMemory();
  #sums: LayerSums | undefined;
  #isLeft = false;
  #isClosed = false;

  /**
   * Starts to read a layer.
   *
   * @param record an empty file; this object closes it
   * @throws {VeneerError} `invalid argument` if it is missing, `not supported` for an unknown
   * compression
   */
  constructor(layer: FoundLayer, record: number, options: LayerStreamOptions) {
    this.record = record;
    this.#layer = layer;
    using scope = new DisposableStack();
    scope.defer(() => close(record));
    const file = this.#file = scope.use(layer.open());
    const compression = compressionIn(file, layer);
    const { readable, writable } = pipe();
    trySetPipeSize(readable, LARGEST_PIPE);
    this.output = readable;
    this.#input = writable;
    this.#worker = new Worker(new URL("./layer_worker.ts", import.meta.url), { type: "module" });
    const { fd, offset, size } = file;
    const { digest, what } = layer;
    const job: LayerJob = {
      ...options,
      compression,
      algorithm: digest === undefined ? "sha256" : parseDigest(digest, what).algorithm,
      fd,
      offset,
      size,
      output: writable,
      record,
      memory: this.#memory.buffer,
    };
    this.#worker.postMessage(job);
    scope.move();
  }

  /**
   * Returns the Worker's error, which explains a failure to read the pipe; `undefined` if it has
   * none.
   */
  failure(): unknown {
    try {
      this.#check();
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /**
   * Waits for the end of the Worker, and returns its results.
   *
   * @param diffId the plain tar's digest in the config
   * @throws {VeneerError} `invalid argument` if the layer has another digest, or is damaged
   */
  verify(diffId: string): LayerSums {
    const sums = this.#check();
    if (sums.plain === diffId) return sums;
    throw badImage(
      `${this.#layer.what} has the content of ${sums.plain}, its config says diff id ${diffId}`,
    );
  }

  #check(): LayerSums {
    const sums = this.#outcome();
    const { what, digest } = this.#layer;
    if (digest !== undefined && sums.file !== digest) {
      throw badImage(`${what} has the content of ${sums.file}: it is damaged`);
    }
    if (sums.failure === undefined) return sums;
    throw new VeneerError(
      "invalid argument",
      `${what} cannot be decompressed: ${sums.failure}`,
      sums.failure === EXPANDS ? { remedy: { kind: "allow expansion" } } : {},
    );
  }

  #outcome(): LayerSums {
    if (this.#sums !== undefined) return this.#sums;
    const { control, text } = this.#memory, { what } = this.#layer;
    this.#leave();
    if (!control.waitForBegin(START_TIMEOUT)) {
      throw new VeneerError("failed", `${what}: the thread that reads it did not start`);
    }
    control.waitForEnd();
    const [found] = text.take();
    if (control.state === "done") return this.#sums = found as LayerSums;
    throw new VeneerError("failed", `${what} cannot be read: ${found}`);
  }

  /** Closes the pipe's end for reading, so that a Worker that is blocked in a write continues. */
  #leave(): void {
    if (!this.#isLeft) close(this.output);
    this.#isLeft = true;
  }

  /** Ends the reading, even if it is not complete. */
  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { control } = this.#memory;
    control.stop();
    this.#leave();
    if (control.cancel()) close(this.#input);
    else control.waitForEnd();
    this.#worker.terminate();
    this.#file[Symbol.dispose]();
    close(this.record);
  }
}

function compressionIn(file: ImageFile, { what }: FoundLayer): Compression | undefined {
  const head = new Uint8Array(BLOCK);
  const length = pread(file.fd, head, Math.min(BLOCK, file.size), BigInt(file.offset));
  const name = compressionOf(head.subarray(0, length));
  if (name === undefined || name === "gzip" || name === "zstd") return name;
  throw new VeneerError(
    "not supported",
    `${what} is compressed with ${name}: gzip and zstd are read`,
  );
}
