/**
 * Bodies of requests and answers that are tars. A pipe connects each with a lane, which uses the
 * descriptor of its end. If the reader is slow, data stays in the pipe; if the pipe is full, the
 * writer waits.
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

/** The most bytes that are read from a pipe at once. */
const READ_SIZE = 256 << 10;

/** The most bytes that are written at once if the pipe is full. */
const WRITE_SIZE = 64 << 10;

/**
 * The most bytes that are read from a body at once, and the fewest, except at its beginning and
 * end.
 */
const BODY_SIZE = 256 << 10, BODY_LEAST = 64 << 10;

const path = (fd: number) => `/proc/self/fd/${fd}`;

/**
 * A request's body, read into one buffer.
 *
 * A daemon sends each header of a tar, its data and its padding as separate pieces. If each piece
 * were read alone into a new buffer, that would cost more than small files themselves. The first
 * pieces are read as they come, so that the lane can begin with the layer.
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
   * The next bytes, which are valid until the next call; `undefined` at the end.
   *
   * @throws if the client closes the connection, and at every later call
   */
  async read(): Promise<Uint8Array | undefined> {
    const reader = this.#reader;
    if (this.#isEnded || reader === undefined) return undefined;
    if (reader instanceof ReadableStreamDefaultReader) return (await reader.read()).value;
    const view = new Uint8Array(this.#buffer);
    const { done, value } = await reader.read(view, {
      min: this.#taken < BODY_LEAST ? 1 : BODY_LEAST,
    });
    this.#isEnded = done; // The last bytes may come with it.
    if (value === undefined) return undefined;
    this.#taken += value.length;
    this.#buffer = value.buffer;
    return value.length > 0 ? value : undefined;
  }

  /** Stops reading; a read in progress ends. */
  cancel(): void {
    void this.#reader?.cancel().catch(() => {});
  }
}

/**
 * The reader of a body. A body that was complete at once is not a byte stream, and comes in one
 * piece.
 */
function readerOf(body: ReadableStream<Uint8Array>) {
  try {
    return body.getReader({ mode: "byob" });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return body.getReader();
  }
}

/** A pipe to a lane, which reads from `readable`. */
export class PipeIn implements Disposable {
  readonly readable: number;
  readonly #now: number;
  readonly #file: Deno.FsFile;
  #isEnded = false;

  /** Whether {@linkcode end} was called, so that nothing can be written. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  constructor() {
    const { readable, writable } = pipe();
    trySetPipeSize(writable, LARGEST_PIPE);
    this.readable = readable;
    // Two open files of the pipe: writes to one never wait, and writes to the other wait in another
    // thread.
    this.#now = open(path(writable), O_WRONLY | O_NONBLOCK);
    this.#file = Deno.openSync(path(writable), { write: true });
    close(writable);
  }

  /** Writes all bytes. @throws if the lane has stopped reading */
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

  /** To be called when the lane is done. Later writes fail. */
  [Symbol.dispose](): void {
    close(this.readable);
  }
}

/** A pipe from a lane, which writes to `writable`. */
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

  /** The next bytes; `undefined` at the end. @throws if the pipe is closed */
  async read(): Promise<Bytes | undefined> {
    const buffer = new Uint8Array(READ_SIZE);
    const length = await this.#file.read(buffer);
    return length === null ? undefined : buffer.subarray(0, length);
  }

  /** Ends the stream. To be called when the lane is done. */
  end(): void {
    close(this.writable);
  }

  /** Stops reading: the lane's next write fails. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.close();
  }
}
