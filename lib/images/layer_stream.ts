/**
 * A layer on its way into a snapshot: a Worker reads its file, decompresses it into a pipe, and
 * hashes both on the way. The thread that reads the pipe gets the digests at its end.
 *
 * The Worker goes on to the end of the file if the reader leaves the pipe: a tar may end before its
 * file does, and the digests are of all of it.
 *
 * @module
 */
import { close, LARGEST_PIPE, pipe, pread, trySetPipeSize } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import { START_TIMEOUT, WorkerMemory } from "../base/worker_memory.ts";
import { BLOCK } from "../tar/header.ts";
import { type Compression, compressionOf } from "../tar/read/compression.ts";
import { EXPANDS } from "../tar/read/expansion.ts";
import { type Algorithm, parseDigest } from "./digest.ts";
import type { FoundLayer } from "./found_image.ts";
import { badImage } from "./json.ts";
import type { ImageFile } from "./source.ts";

/** The Worker's first message. */
export interface LayerJob {
  readonly compression: Compression | undefined;
  /** Of the file as it lies there. */
  readonly algorithm: Algorithm;
  readonly fd: number;
  /** In bytes. */
  readonly offset: number;
  readonly size: number;
  /** The pipe's end to write to, which the Worker closes. */
  readonly output: number;
  /** The file for the record of the tar. */
  readonly record: number;
  /** Whether a layer that expands more than a thousandfold is refused: see `expansion.ts`. */
  readonly isBounded: boolean;
  /** See {@linkcode WorkerMemory}. */
  readonly memory: SharedArrayBuffer;
}

/** What the Worker found out. */
export interface LayerSums {
  /** The digest of the file as it lies there. */
  readonly file: string;
  /** The digest of the plain tar, with what follows its end. */
  readonly plain: string;
  /** The plain tar's bytes. */
  readonly size: number;
  /** Why it cannot be decompressed, if it cannot. */
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
   * Begins to read a layer.
   *
   * @param record an empty file, which this closes
   * @param isBounded see {@linkcode LayerJob}
   * @throws {VeneerError} `invalid argument` if it is missing, `not supported` for a compression
   * that is not read
   */
  constructor(layer: FoundLayer, record: number, isBounded: boolean) {
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
      compression,
      algorithm: digest === undefined ? "sha256" : parseDigest(digest, what).algorithm,
      fd,
      offset,
      size,
      output: writable,
      record,
      isBounded,
      memory: this.#memory.buffer,
    };
    this.#worker.postMessage(job);
    scope.move();
  }

  /** Whether the Worker failed or found damage, which explains a failure to read the pipe. */
  failure(): unknown {
    try {
      this.#check();
      return undefined;
    } catch (error) {
      return error;
    }
  }

  /**
   * Waits for the Worker's end; returns what it found.
   *
   * @param diffId the plain tar's digest as the config says it
   * @throws {VeneerError} `invalid argument` if the layer is not what it should be
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

  /** Nothing is read from the pipe any more: a Worker that is blocked in a write to it goes on. */
  #leave(): void {
    if (!this.#isLeft) close(this.output);
    this.#isLeft = true;
  }

  /** Ends the reading, whether it is done or not. */
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
