/**
 * The buffer in which the entries of a tar are composed: headers and small files, with the data of
 * a file read directly to its place behind its header.
 *
 * @module
 */
import { read } from "../../../ffi/files.ts";
import { padding } from "../header.ts";

/**
 * From this size on moving a file inside the kernel is cheaper than reading and writing it
 * (measured).
 */
export const SENDFILE_MIN = 128 << 10;

/** A buffer that entries are laid out in; the class decides what to do with a full one. */
export abstract class EntryBuffer {
  abstract readonly buffer: Uint8Array;

  /**
   * Makes room for `count` bytes, at most the buffer's length, at the returned offset of
   * {@linkcode buffer}.
   */
  abstract reserve(count: number): number;

  /** Gives back the last `count` bytes that were reserved. */
  abstract giveBack(count: number): void;

  /**
   * Puts the first `size` bytes of a file that stands at its start, and fills the last block. A
   * file that has become shorter is filled up with zeros.
   *
   * @returns how many bytes the file had
   */
  abstract file(fd: number, size: number): number;

  /** Waits until all entries before this point have been made, be it by another thread. */
  abstract finishPieces(): void;

  /** Puts any number of bytes. */
  write(bytes: Uint8Array): void {
    const most = this.buffer.length;
    for (let at = 0; at < bytes.length; at += most) {
      const piece = bytes.subarray(at, at + most);
      this.buffer.set(piece, this.reserve(piece.length));
    }
  }

  /** Puts any number of zero bytes. */
  zeros(count: number): void {
    const most = this.buffer.length;
    for (let rest = count; rest > 0; rest -= most) {
      const piece = Math.min(rest, most);
      const at = this.reserve(piece);
      this.buffer.fill(0, at, at + piece);
    }
  }

  /** Reads up to `size` bytes of a file; returns how many it had. */
  protected read(fd: number, size: number): number {
    let found = 0;
    while (found < size) {
      const count = Math.min(size - found, SENDFILE_MIN);
      const at = this.reserve(count);
      const got = read(fd, this.buffer.subarray(at, at + count));
      if (got < count) this.giveBack(count - got);
      if (got === 0) break;
      found += got;
    }
    return found;
  }

  /** Fills the rest of a file of `size` bytes with zeros, and its last block. */
  protected pad(size: number, found: number): number {
    this.zeros(size - found + padding(size));
    return found;
  }
}
