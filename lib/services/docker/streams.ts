/**
 * Bodies of requests and answers that are tars: a pipe leads from or to a lane, which works on the
 * descriptor of its end. What a slow reader does not take stays in the pipe, and then with the
 * other end.
 *
 * @module
 */
import {
  close,
  LARGEST_PIPE,
  O_NONBLOCK,
  O_WRONLY,
  open,
  pipe,
  trySetPipeSize,
  tryWrite,
} from "../../../ffi/files.ts";
import { EAGAIN, EPIPE, SyscallError } from "../../../ffi/errno.ts";
import type { Bytes } from "../bytes.ts";

/** Bytes that are taken from a pipe at once. */
const READ_SIZE = 256 << 10;

/** So many are written at once if the pipe is full. */
const WRITE_SIZE = 64 << 10;

/** Bytes that are read of a body at once: at most, and at least unless it begins or ends. */
const BODY_SIZE = 256 << 10, BODY_LEAST = 64 << 10;

const path = (fd: number) => `/proc/self/fd/${fd}`;

/**
 * A request's body, read into one buffer.
 *
 * A daemon sends each header of a tar, the data behind it and the padding as pieces of their own:
 * taken one at a time, with a buffer each, those of small files cost more than the files. The first
 * ones are taken as they come, so that the layer is begun with them.
 */
export class TarBody {
  readonly #reader: ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array> | undefined;
  #buffer = new ArrayBuffer(BODY_SIZE);
  #taken = 0;
  #isEnded = false;

  constructor(body: ReadableStream<Uint8Array> | null) {
    if (body !== null) this.#reader = readerOf(body);
  }

  /**
   * The next bytes, until they are read on; `undefined` at the end.
   *
   * @throws if the client goes away, and whenever it is called again then
   */
  async read(): Promise<Uint8Array | undefined> {
    const reader = this.#reader;
    if (this.#isEnded || reader === undefined) return undefined;
    if (reader instanceof ReadableStreamDefaultReader) return (await reader.read()).value;
    const view = new Uint8Array(this.#buffer);
    const { done, value } = await reader.read(view, {
      min: this.#taken < BODY_LEAST ? 1 : BODY_LEAST,
    });
    this.#isEnded = done; // The last bytes come with it.
    if (value === undefined) return undefined;
    this.#taken += value.length;
    this.#buffer = value.buffer;
    return value.length > 0 ? value : undefined;
  }

  /** Reads no more: a read that waits ends. */
  cancel(): void {
    void this.#reader?.cancel().catch(() => {});
  }
}

/** What reads a body: one that was there at once is none of bytes, and comes in one piece. */
function readerOf(body: ReadableStream<Uint8Array>) {
  try {
    return body.getReader({ mode: "byob" });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return body.getReader();
  }
}

/** A pipe into a lane, which reads from `readable`. */
export class PipeIn implements Disposable {
  readonly readable: number;
  readonly #now: number;
  readonly #file: Deno.FsFile;
  #isEnded = false;

  /** Whether {@linkcode end} was called: then nothing can be written. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  constructor() {
    const { readable, writable } = pipe();
    trySetPipeSize(writable, LARGEST_PIPE);
    this.readable = readable;
    // Two open files of the pipe: one that never waits, and one on which another thread waits.
    this.#now = open(path(writable), O_WRONLY | O_NONBLOCK);
    this.#file = Deno.openSync(path(writable), { write: true });
    close(writable);
  }

  /** Writes all bytes. @throws if the lane reads no more */
  async write(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      if (this.#isEnded) throw new SyscallError("write", EPIPE);
      let written = tryWrite(this.#now, rest);
      if (written === -EAGAIN) written = await this.#file.write(rest.subarray(0, WRITE_SIZE));
      if (written < 0) throw new SyscallError("write", -written);
      rest = rest.subarray(written);
    }
  }

  /** Ends the stream. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    close(this.#now);
    this.#file.close();
  }

  /** To be called when the lane is done: writing then fails. */
  [Symbol.dispose](): void {
    close(this.readable);
  }
}

/** A pipe out of a lane, which writes to `writable`. */
export class PipeOut {
  readonly writable: number;
  readonly #file: Deno.FsFile;
  #isClosed = false;

  constructor() {
    const { readable, writable } = pipe();
    trySetPipeSize(writable, LARGEST_PIPE);
    this.writable = writable;
    this.#file = Deno.openSync(path(readable), { read: true });
    close(readable);
  }

  /** The next bytes; `undefined` at the end. @throws if it is closed */
  async read(): Promise<Bytes | undefined> {
    const buffer = new Uint8Array(READ_SIZE);
    const length = await this.#file.read(buffer);
    return length === null ? undefined : buffer.subarray(0, length);
  }

  /** Ends the stream; to be called when the lane is done. */
  end(): void {
    close(this.writable);
  }

  /** Reads no more: the lane's next write fails. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.close();
  }
}
