/**
 * The window of a tar that is read from a descriptor.
 *
 * The input is a regular file, which is read by offset (its own file position is neither used nor
 * moved, so that two threads can share the descriptor), or a stream, which is read in order. Small
 * data is parsed and written from the window; large data goes from file to file inside the kernel.
 *
 * @module
 */
import { EAGAIN, EINTR, EINVAL, EIO, ENOSYS, EOPNOTSUPP } from "../../../ffi/errno.ts";
import { pread, read, SEEK_CUR, tryLseek } from "../../../ffi/files.ts";
import { waitReadable } from "../../../ffi/poll.ts";
import { trySendfileAt, trySplice } from "../../../ffi/sendfile.ts";
import { fstat } from "../../../ffi/stat.ts";
import { type Subject, unwrap } from "../../../ffi/unwrap.ts";
import { PROGRESS_PART, type TarFile, WAITING_STEP, Window } from "./window.ts";

/** 256 KiB; measured: 1 MiB gains nothing, and less costs a tenth. */
const CAPACITY = 256 << 10;
/**
 * After a jump as little as this is read, and twice as much each time: a header may be all that is
 * wanted.
 */
const FIRST_READ = 16 << 10;
/** The most bytes that one call is asked to move, since results are 32-bit. */
const LARGEST_MOVE = 1 << 30;

/** A buffered input. */
export class DescriptorWindow extends Window {
  readonly #fd: number;
  /** The offset of the tar in a regular file; `undefined` for a stream. */
  readonly #base: number | undefined;
  readonly #onEnd: () => void;
  readonly #onWaiting: ((position: number) => void) | undefined;
  #nextRead = CAPACITY;
  #canMove = true;
  #hash: ((bytes: Uint8Array<ArrayBuffer>) => void) | undefined;
  #hasEnded = false;

  /**
   * @param fd the input, which stays the caller's
   * @param base the offset of the tar in a regular file; for a stream, `undefined`
   * @param onEnd called when the input ends: throws if that is not its true end
   * @param onWaiting called each second in which a stream gives nothing, with the bytes so far
   */
  constructor(
    fd: number,
    base: number | undefined,
    onEnd: () => void = () => {},
    onWaiting?: (position: number) => void,
  ) {
    super(new Uint8Array(CAPACITY));
    this.#fd = fd;
    this.#base = base;
    this.#onEnd = onEnd;
    this.#onWaiting = onWaiting;
  }

  /** A window over any descriptor, from its file position on. */
  static over(fd: number, onWaiting?: (position: number) => void): DescriptorWindow {
    if (!fstat(fd).isFile) return new DescriptorWindow(fd, undefined, undefined, onWaiting);
    const position = tryLseek(fd, 0n, SEEK_CUR);
    return new DescriptorWindow(fd, position < 0n ? undefined : Number(position));
  }

  override get file(): TarFile | undefined {
    const fd = this.#fd, base = this.#base;
    return base === undefined ? undefined : { fd, base };
  }

  protected readMore(count: number): boolean {
    const have = this.end - this.at;
    if (have === 0) this.at = this.end = 0;
    else if (this.at + count > CAPACITY || CAPACITY - this.end < FIRST_READ) {
      this.bytes.copyWithin(0, this.at, this.end);
      this.at = 0;
      this.end = have;
    }
    const room = this.end === 0 ? this.bytes : this.bytes.subarray(this.end);
    const ask = Math.min(room.length, Math.max(this.#nextRead, count - have));
    this.#nextRead = Math.min(this.#nextRead * 2, CAPACITY);
    this.#await();
    const got = this.#base === undefined
      ? read(this.#fd, room, ask)
      : pread(this.#fd, room, ask, BigInt(this.#base + this.position + have));
    this.end += got;
    if (this.#base === undefined) this.#hash?.(room.subarray(0, got));
    if (got === 0) {
      this.#hasEnded = true;
      this.#onEnd();
    }
    return got > 0;
  }

  /**
   * The bytes of a stream are hashed when they are read, so none of them are moved inside the
   * kernel. A file is hashed at the end, when most of it is in memory.
   */
  override hashing(update: (bytes: Uint8Array<ArrayBuffer>) => void): () => boolean {
    const base = this.#base;
    if (base === undefined) {
      this.#hash = update;
      this.#canMove = false;
      update(this.bytes.subarray(this.at, this.end));
      return () => this.#hasEnded;
    }
    return () => {
      for (let at = base, got; (got = pread(this.#fd, this.bytes, CAPACITY, BigInt(at))) > 0;) {
        update(this.bytes.subarray(0, got));
        at += got;
      }
      return true;
    };
  }

  /** Waits for a stream, if the caller wants reports of the wait. */
  #await(): void {
    if (this.#onWaiting === undefined || this.#base !== undefined) return;
    while (!waitReadable(this.#fd, performance.now() + WAITING_STEP)) {
      this.#onWaiting(this.position + this.end - this.at);
    }
  }

  override seek(position: number): void {
    const ahead = position - this.position;
    if (ahead >= 0 && ahead <= this.end - this.at) return this.take(ahead);
    this.at = this.end = 0;
    this.position = position;
    this.#nextRead = FIRST_READ;
  }

  override skip(count: number): boolean {
    if (this.#base === undefined) return super.skip(count);
    this.seek(this.position + count);
    return true;
  }

  /** Moves at most `left` bytes inside the kernel; returns how many, 0 at the input's end. */
  protected override move(out: number, left: number, what: Subject): number {
    if (!this.#canMove) return this.put(out, left, what);
    const ask = Math.min(left, this.onMoved === undefined ? LARGEST_MOVE : PROGRESS_PART);
    let moved: number;
    if (this.#base !== undefined) {
      moved = trySendfileAt(out, this.#fd, this.#base + this.position, ask);
    } else {
      // A stream's bytes that are in the window already cannot be read again.
      if (this.at < this.end) return this.put(out, left, what);
      this.#await();
      for (;;) {
        moved = trySplice(this.#fd, out, ask);
        if (moved === -EAGAIN) waitReadable(this.#fd);
        else if (moved !== -EINTR) break;
      }
    }
    if (moved < 0) {
      if (moved !== -EINVAL && moved !== -ENOSYS && moved !== -EOPNOTSUPP && moved !== -EIO) {
        unwrap(moved, "write", what);
      }
      // Not between these two files (a socket, say), or one of them has an error: copy by hand from
      // now on, which shows which file an error is about.
      this.#canMove = false;
      return this.put(out, left, what);
    }
    if (moved === 0) this.#onEnd();
    if (this.#base !== undefined) this.seek(this.position + moved);
    else this.position += moved;
    this.onMoved?.(this.position);
    return moved;
  }

  override reachesPosition(): boolean {
    return this.#base === undefined || fstat(this.#fd).size >= this.#base + this.position;
  }

  override drain(): void {
    if (this.#base === undefined) super.drain();
  }
}
