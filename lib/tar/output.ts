/**
 * The stream a tar is written to: a file, a pipe or a socket.
 *
 * Headers and small files are put together in one buffer, the data of a file being read straight to its
 * place behind its header; larger files go to the output inside the kernel.
 *
 * @module
 */
import { EAGAIN, EINTR, EINVAL, ENOSYS, EOPNOTSUPP } from "../../ffi/errno.ts";
import { tryRead, trySendfile, trySetPipeSize, tryWrite } from "../../ffi/files.ts";
import { waitWritable } from "../../ffi/poll.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { paddingOf } from "./encode.ts";

const CAPACITY = 512 << 10;

/** From this size on moving a file inside the kernel is cheaper than reading and writing it (measured). */
const SENDFILE_MIN = 128 << 10;

/** At most this much is moved in one call, so that progress shows. */
const SENDFILE_MAX = 16 << 20;

/** As much as an unprivileged process may ask for (`/proc/sys/fs/pipe-max-size`); the default is 64 KiB. */
const PIPE_SIZE = 1 << 20;

export class Output {
  readonly buffer: Uint8Array<ArrayBuffer> = new Uint8Array(CAPACITY);
  #used = 0;
  #written = 0;
  #sendfile = true;

  /** @param fd stays the caller's; a pipe is made larger, and may be in non-blocking mode */
  constructor(readonly fd: number, readonly onProgress?: (bytesWritten: number) => void) {
    trySetPipeSize(fd, PIPE_SIZE);
  }

  /** Bytes so far. */
  get length(): number {
    return this.#written + this.#used;
  }

  /** Makes room for `count` bytes, at most the buffer's length, at the returned offset of {@linkcode buffer}. */
  reserve(count: number): number {
    if (this.#used + count > CAPACITY) this.flush();
    const at = this.#used;
    this.#used += count;
    return at;
  }

  /** Writes any number of bytes. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + CAPACITY);
      this.buffer.set(piece, this.reserve(piece.length));
      at += piece.length;
    }
  }

  /** Writes any number of zero bytes. */
  zeros(count: number): void {
    for (let rest = count; rest > 0;) {
      const piece = Math.min(rest, CAPACITY);
      const at = this.reserve(piece);
      this.buffer.fill(0, at, at + piece);
      rest -= piece;
    }
  }

  /**
   * Writes the first `size` bytes of a file that stands at its start, and fills the last block. A file that
   * has become shorter is filled up with zeros.
   *
   * @returns how many bytes the file had
   */
  file(fd: number, size: number): number {
    const found = size >= SENDFILE_MIN ? this.#send(fd, size) : this.#read(fd, size);
    this.zeros(size - found + paddingOf(size));
    return found;
  }

  /** Reads up to `size` bytes of a file into the buffer. */
  #read(fd: number, size: number): number {
    let found = 0;
    while (found < size) {
      const count = Math.min(size - found, SENDFILE_MIN);
      const at = this.reserve(count);
      const got = unwrap(tryRead(fd, this.buffer.subarray(at, at + count)), "read");
      this.#used -= count - got;
      if (got === 0) break;
      found += got;
    }
    return found;
  }

  /** Moves up to `size` bytes of a file to the output inside the kernel, where that can be. */
  #send(fd: number, size: number): number {
    this.flush();
    let found = 0;
    while (this.#sendfile && found < size) {
      const moved = trySendfile(this.fd, fd, Math.min(size - found, SENDFILE_MAX));
      if (moved === 0) return found;
      if (moved === -EINTR) continue;
      if (moved === -EAGAIN) {
        waitWritable(this.fd);
      } else if (moved === -EINVAL || moved === -ENOSYS || moved === -EOPNOTSUPP) {
        this.#sendfile = false; // Such as an output opened for appending.
      } else {
        found += unwrap(moved, "sendfile");
        this.#count(moved);
      }
    }
    return found + this.#read(fd, size - found);
  }

  /** Hands over what is in the buffer. */
  flush(): void {
    for (let at = 0; at < this.#used;) {
      const put = tryWrite(this.fd, this.buffer.subarray(at, this.#used));
      if (put === -EAGAIN) waitWritable(this.fd);
      else at += unwrap(put, "write");
    }
    const count = this.#used;
    this.#used = 0;
    if (count > 0) this.#count(count);
  }

  #count(bytes: number): void {
    this.#written += bytes;
    this.onProgress?.(this.#written);
  }
}
