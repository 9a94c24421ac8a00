/**
 * Decompression beside the apply: a Worker reads the input and decompresses it into a ring, which
 * the applying thread reads. Both block in calls; no thread waits for an event.
 *
 * An error in the Worker is written to shared memory before the ring ends, so that the reader knows
 * at its end whether the input ended there.
 *
 * @module
 */
import { close, duplicate } from "../../../ffi/files.ts";
import { fstat } from "../../../ffi/stat.ts";
import { ByteRing } from "../../base/byte_ring.ts";
import { VeneerError } from "../../base/errors.ts";
import type { Inflater } from "../../base/inflater.ts";
import { START_TIMEOUT, WorkerMemory } from "../../base/worker_memory.ts";
import type { Compression } from "./compression.ts";
import { EXPANDS } from "./expansion.ts";

/** How an input is decompressed. */
export interface DecompressOptions {
  /** Whether input that expands more than a thousandfold is refused: see `expansion.ts`. */
  readonly isBounded: boolean;
  /** See {@linkcode Inflater}. */
  readonly inflater: Inflater;
}

/** The Worker's first message. */
export interface DecompressJob extends DecompressOptions {
  readonly compression: Compression;
  /** Read from its current position; the Worker closes it. */
  readonly input: number;
  /** The memory of a {@linkcode ByteRing}. */
  readonly output: SharedArrayBuffer;
  /** The bytes that were read of a stream already. */
  readonly head: Uint8Array<ArrayBuffer>;
  /** See {@linkcode WorkerMemory}. */
  readonly memory: SharedArrayBuffer;
}

/** A running decompression. */
export class Decompressor {
  readonly compression: Compression;
  /** The plain bytes, which the caller reads. */
  readonly ring: ByteRing = new ByteRing();
  readonly #worker: Worker;
  /** A copy of the input, which is the Worker's from its beginning on. */
  readonly #input: number;
  /** Whether the input is a file, so that no read of it waits for long. */
  readonly #isFile: boolean;
  readonly #memory = new WorkerMemory();
  #reason: string | undefined;
  #closed = false;

  /**
   * @param input a descriptor open for reading, which stays the caller's
   * @param head  the bytes read of it already
   * @param options unbounded and `auto` by default
   */
  constructor(
    compression: Compression,
    input: number,
    head: Uint8Array<ArrayBuffer>,
    { isBounded = false, inflater = "auto" }: Partial<DecompressOptions> = {},
  ) {
    this.compression = compression;
    // The caller closes its own descriptor, and another file may get the number while the Worker
    // still reads.
    this.#input = duplicate(input);
    this.#isFile = fstat(this.#input).isFile;
    this.#worker = new Worker(new URL("./decompress_worker.ts", import.meta.url), {
      type: "module",
    });
    const job: DecompressJob = {
      compression,
      input: this.#input,
      output: this.ring.buffer,
      head,
      isBounded,
      inflater,
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
    const { control } = this.#memory;
    control.stop();
    // A Worker that waits for room comes to its end.
    this.ring.close();
    if (control.cancel()) close(this.#input);
    // Afterwards the position of the caller's file does not move any more.
    else if (this.#isFile) control.waitForEnd();
    this.#worker.terminate();
  }
}
