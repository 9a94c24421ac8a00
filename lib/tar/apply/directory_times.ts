/**
 * The times of directories, kept until no more entries come into them: every entry made in a
 * directory changes its time.
 *
 * A record is a few dozen bytes in chunks of memory; a layer has a directory for every ten files or
 * so. A path is kept whole: its own bytes are in the tar, and `link_budget.ts` bounds the part that
 * links add.
 *
 * @module
 */
import { decode, encode } from "../../../ffi/cstring.ts";
import { ELOOP, ENOENT, ENOTDIR } from "../../../ffi/errno.ts";
import { withFd } from "../../../ffi/files.ts";
import { fstat, Stat } from "../../../ffi/stat.ts";
import { Times, tryFutimens } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { liftingProtection } from "../../tree/protection.ts";

const CHUNK = 256 << 10;
// A record: inode, two times of seconds (f64) and nanoseconds (u32), the path's length (u16), the
// path.
const INODE = 0, ACCESS = 8, ACCESS_NANOS = 16, MODIFIED = 20, MODIFIED_NANOS = 28;
const LENGTH = 32, PATH = 34;

/** The times of an entry, in seconds and nanoseconds. */
export interface Moments {
  readonly accessSeconds: number;
  readonly accessNanos: number;
  readonly seconds: number;
  readonly nanos: number;
}

/** A list of directories and the times they are to have. */
export class DirectoryTimes {
  readonly #chunks: DataView<ArrayBuffer>[] = [];
  readonly #lengths: number[] = [];
  #count = 0;
  /** Directories of which only records from this number on hold. */
  readonly #dropped = new Map<bigint, number>();

  /**
   * Takes note of a directory.
   *
   * @param path  real: no link lies on it
   * @param inode the directory's own
   */
  add(path: string, inode: bigint, moments: Moments): void {
    const bytes = encode(path);
    const size = PATH + bytes.length;
    let last = this.#chunks.length - 1;
    if (last < 0 || this.#lengths[last] + size > CHUNK) {
      last = this.#chunks.push(new DataView(new ArrayBuffer(CHUNK))) - 1;
      this.#lengths.push(0);
    }
    const view = this.#chunks[last], at = this.#lengths[last];
    view.setBigUint64(at + INODE, inode);
    view.setFloat64(at + ACCESS, moments.accessSeconds);
    view.setUint32(at + ACCESS_NANOS, moments.accessNanos);
    view.setFloat64(at + MODIFIED, moments.seconds);
    view.setUint32(at + MODIFIED_NANOS, moments.nanos);
    view.setUint16(at + LENGTH, bytes.length);
    new Uint8Array(view.buffer).set(bytes, at + PATH);
    this.#lengths[last] = at + size;
    this.#count++;
  }

  /** Leaves a directory the time that it has, unless something is noted of it later. */
  drop(inode: bigint): void {
    this.#dropped.set(inode, this.#count);
  }

  /**
   * Sets them all, in the order in which they were noted: of two for one directory the later one
   * counts.
   *
   * @param open opens the directory at a real path, raw
   */
  apply(open: (path: string) => number): void {
    const stat = new Stat();
    let number = 0;
    for (const [i, view] of this.#chunks.entries()) {
      for (let at = 0, end; at < this.#lengths[i]; at = end) {
        end = at + PATH + view.getUint16(at + LENGTH);
        const inode = view.getBigUint64(at + INODE);
        if (number++ < (this.#dropped.get(inode) ?? 0)) continue;
        const path = decode(new Uint8Array(view.buffer, at + PATH, end - at - PATH));
        const fd = open(path);
        if (fd === -ENOENT || fd === -ENOTDIR || fd === -ELOOP) continue;
        withFd(unwrap(fd, "openat2", path), () => {
          // A later entry may have put another directory there, which has its own record or none.
          if (fstat(fd, stat).inode === inode) setTimes(fd, momentsAt(view, at), stat, path);
        });
      }
    }
  }
}

function momentsAt(view: DataView, at: number): Moments {
  return {
    accessSeconds: view.getFloat64(at + ACCESS),
    accessNanos: view.getUint32(at + ACCESS_NANOS),
    seconds: view.getFloat64(at + MODIFIED),
    nanos: view.getUint32(at + MODIFIED_NANOS),
  };
}

const times = new Times();

/**
 * Sets the times of an open directory, unless it has them: it may be one that must not be changed.
 */
function setTimes(fd: number, moments: Moments, stat: Stat, path: string): void {
  const { accessSeconds, accessNanos, seconds, nanos } = moments;
  if (
    stat.seconds === seconds && stat.nanos === nanos && stat.accessSeconds === accessSeconds &&
    stat.accessNanos === accessNanos
  ) return;
  times.set(accessSeconds, accessNanos, seconds, nanos);
  unwrap(liftingProtection(fd, () => tryFutimens(fd, times)), "futimens", path);
}
