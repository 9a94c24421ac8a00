/**
 * The stream a tar is written to: a file, a pipe or a socket.
 *
 * Small things go through a buffer, larger files to the output inside the kernel. Somewhere in the
 * buffer there may be *pieces* of the tar that another thread is still making: the bytes after a
 * piece are held back until it is done, so that the stream is in order.
 *
 * @module
 */
import { EAGAIN, EINTR, EINVAL, EIO, ENOSYS, EOPNOTSUPP } from "../../../ffi/errno.ts";
import { LARGEST_PIPE, trySetPipeSize, writeAll } from "../../../ffi/files.ts";
import { openFileName } from "../../../ffi/open_files.ts";
import { waitWritable } from "../../../ffi/poll.ts";
import { trySendfile } from "../../../ffi/sendfile.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { EntryBuffer, SENDFILE_MIN } from "./entry_buffer.ts";

const CAPACITY = 512 << 10;

/** At most this much is moved in one call, so that progress shows. */
const SENDFILE_MAX = 16 << 20;

/** A part of the tar that is being made elsewhere. */
export interface Piece {
  isDone(): boolean;
  /**
   * Waits until it is done, and puts it out by {@linkcode TarOutput.put} and
   * {@linkcode TarOutput.aside}.
   */
  finish(): void;
}

/** A buffer, its part that is yet to be written, and the places of pieces in it. */
class Held {
  readonly buffer = new Uint8Array(CAPACITY);
  start = 0;
  end = 0;
  readonly pieces: { readonly at: number; readonly piece: Piece }[] = [];
}

export class TarOutput extends EntryBuffer {
  #held = new Held();
  #spare: Held | undefined;
  #written = 0;
  #sendfile = true;

  /** @param fd stays the caller's; a pipe is made larger, and may be in non-blocking mode */
  constructor(readonly fd: number, readonly onProgress?: (bytesWritten: number) => void) {
    super();
    trySetPipeSize(fd, LARGEST_PIPE);
  }

  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#held.buffer;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#written;
  }

  reserve(count: number): number {
    const held = this.#held;
    if (held.end + count > CAPACITY) this.flush();
    const at = held.end;
    held.end += count;
    return at;
  }

  giveBack(count: number): void {
    this.#held.end -= count;
  }

  file(fd: number, size: number): number {
    return this.pad(size, size >= SENDFILE_MIN ? this.#send(fd, size) : this.read(fd, size));
  }

  /** Moves up to `size` bytes of a file to the output inside the kernel, if that can be. */
  #send(fd: number, size: number): number {
    this.flush();
    let found = 0;
    while (this.#sendfile && found < size) {
      const moved = trySendfile(this.fd, fd, Math.min(size - found, SENDFILE_MAX));
      if (moved === 0) return found;
      if (moved === -EINTR) continue;
      if (moved === -EAGAIN) {
        waitWritable(this.fd);
      } else if (moved > 0) {
        found += moved;
        this.#count(moved);
      } else if (moved === -EINVAL || moved === -ENOSYS || moved === -EOPNOTSUPP) {
        this.#sendfile = false; // Such as an output opened for appending.
      } else if (moved === -EIO) {
        // One of the two files has an error: copying by hand shows which.
        break;
      } else unwrap(moved, "sendfile", this.#name());
    }
    return found + this.read(fd, size - found);
  }

  /** Makes a piece the next part of the tar. */
  insert(piece: Piece): void {
    this.#held.pieces.push({ at: this.#held.end, piece });
  }

  /**
   * Writes the bytes before the first piece, the piece, and the pieces after it that are done by
   * then.
   */
  finishPiece(): void {
    const held = this.#held;
    do {
      const { at, piece } = held.pieces.shift()!;
      this.#writeTo(at);
      piece.finish();
    } while (held.pieces.at(0)?.piece.isDone());
  }

  finishPieces(): void {
    while (this.#held.pieces.length > 0) this.finishPiece();
  }

  /** For a piece that is being finished: writes bytes of it. */
  put(bytes: Uint8Array): void {
    writeAll(this.fd, bytes);
    if (bytes.length > 0) this.#count(bytes.length);
  }

  /**
   * For a piece that is being finished: writes the output of `make` ahead of the bytes held back.
   */
  aside(make: () => void): void {
    const held = this.#held;
    this.#held = this.#spare ??= new Held();
    try {
      make();
      this.flush();
    } finally {
      this.#held = held;
    }
  }

  /** Writes all that is held. */
  flush(): void {
    this.finishPieces();
    const held = this.#held;
    this.#writeTo(held.end);
    held.start = held.end = 0;
  }

  #writeTo(end: number): void {
    const held = this.#held;
    this.put(held.buffer.subarray(held.start, end));
    held.start = end;
  }

  /** For messages. */
  #name(): string {
    return openFileName(this.fd) ?? "to the output";
  }

  #count(bytes: number): void {
    this.#written += bytes;
    this.onProgress?.(this.#written);
  }
}
