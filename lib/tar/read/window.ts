/**
 * A window over the bytes of a tar: the bytes read ahead of the parser.
 *
 * Small data is parsed and written from the window. Large data of a descriptor goes from file to
 * file inside the kernel: see `descriptor_window.ts`, and `ring_window.ts` for what another thread
 * decompresses.
 *
 * @module
 */
import { tryWrite } from "../../../ffi/files.ts";
import { type Subject, unwrap } from "../../../ffi/unwrap.ts";

/** Data of at least so many bytes is large. */
export const LARGE = 128 << 10;

/** The most bytes that one call moves if each is reported: so that a progress bar moves. */
export const PROGRESS_PART = 16 << 20;

/** How long a stream may give nothing before that is reported, in milliseconds. */
export const WAITING_STEP = 1000;

/**
 * How much is read behind an archive's end: the largest record that writers pad to is half of it,
 * in bytes.
 */
export const MOST_PADDING = 1 << 20;

/** A tar in a regular file. */
export interface TarFile {
  readonly fd: number;
  /** The offset of the tar in it, in bytes. */
  readonly base: number;
}

/** A buffered input. */
export abstract class Window {
  /**
   * Bytes `[at, end)` are read and not yet consumed; at least 8-byte aligned to the tar's start.
   */
  readonly bytes: Uint8Array<ArrayBuffer>;
  at = 0;
  end = 0;
  /** The offset of {@linkcode at} in the tar, in bytes. */
  position = 0;

  /** Called with the bytes of tar so far after each part of an entry that was moved. */
  onMoved?: (position: number) => void;

  /** @param bytes the memory of the window */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
  }

  /** The tar, if it is in a regular file, which can be read by offset. */
  get file(): TarFile | undefined {
    return undefined;
  }

  /** Reads on, if possible until `count` bytes are available; false at the input's end. */
  protected abstract readMore(count: number): boolean;

  /**
   * Gives all bytes of the tar to a hash.
   *
   * @returns a function to be called after the tar was applied; it returns `false` if the input has
   * bytes that were not read
   */
  abstract hashing(update: (bytes: Uint8Array<ArrayBuffer>) => void): () => boolean;

  /** Makes at least `count` bytes available, at most 512, unless the input ends. */
  fill(count: number): boolean {
    while (this.end - this.at < count) if (!this.readMore(count)) return false;
    return true;
  }

  /** Continues at another offset of a regular file's tar, in bytes. */
  abstract seek(position: number): void;

  /** Moves on over bytes that are available. */
  take(count: number): void {
    this.at += count;
    this.position += count;
  }

  /** Skips `count` bytes; false if a stream ends before (a file's end shows at the next read). */
  skip(count: number): boolean {
    while (count > this.end - this.at) {
      count -= this.end - this.at;
      this.take(this.end - this.at);
      if (!this.fill(1)) return false;
    }
    this.take(count);
    return true;
  }

  /**
   * Writes the next `count` bytes to a file's current position.
   *
   * @returns how many there were: fewer than `count` if the input ends
   * @throws {SyscallError} naming `what` if writing fails
   */
  copyTo(out: number, count: number, what: Subject): number {
    let left = count;
    while (left > 0) {
      const done = left >= LARGE ? this.move(out, left, what) : this.put(out, left, what);
      if (done === 0) break;
      left -= done;
    }
    return count - left;
  }

  /** Writes at most `left` bytes from the window; returns how many, 0 at the input's end. */
  protected put(out: number, left: number, what: Subject): number {
    if (this.at === this.end && !this.fill(1)) return 0;
    const part = Math.min(left, this.end - this.at);
    writeAll(out, this.bytes.subarray(this.at, this.at + part), what);
    this.take(part);
    return part;
  }

  /** Writes at most `left` bytes of large data; returns how many, 0 at the input's end. */
  protected move(out: number, left: number, what: Subject): number {
    const moved = this.put(out, left, what);
    this.onMoved?.(this.position);
    return moved;
  }

  /** Whether the input goes on to its {@linkcode position}: a file's end shows only at a read. */
  reachesPosition(): boolean {
    return true;
  }

  /**
   * Reads the bytes of a stream behind the end of the archive, at most {@linkcode MOST_PADDING}, so
   * that a writer of ordinary padding gets no EPIPE and an endless one does. A file has no such
   * writer.
   */
  drain(): void {
    const end = this.position + MOST_PADDING;
    do this.take(this.end - this.at); while (this.position < end && this.fill(1));
  }
}

function writeAll(
  out: number,
  bytes: Uint8Array<ArrayBuffer>,
  what: Subject,
): void {
  for (let rest = bytes; rest.byteLength > 0;) {
    const put = tryWrite(out, rest);
    unwrap(put, "write", what);
    if (put === rest.byteLength) return;
    rest = rest.subarray(put);
  }
}
