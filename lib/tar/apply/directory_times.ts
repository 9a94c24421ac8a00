/**
 * The times of directories, kept until nothing comes into them any more: every entry made in a directory
 * changes its time.
 *
 * A record is a few dozen bytes in chunks of memory; a layer has a directory for every ten files or so. A path
 * is kept whole: its own bytes are in the tar, and what links add to them is bounded by `link_budget.ts`.
 *
 * @module
 */
import { decode, encode } from "../../../ffi/cstring.ts";
import { ELOOP, ENOENT, ENOTDIR } from "../../../ffi/errno.ts";
import { withFd } from "../../../ffi/files.ts";
import { fstat, Stat } from "../../../ffi/stat.ts";
import { Times, tryFutimens } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import type { Entry } from "../read/entry.ts";

const CHUNK = 256 << 10;
// A record: inode, two times of seconds (f64) and nanoseconds (u32), the path's length (u16), the path.
const INODE = 0, ACCESS = 8, ACCESS_NANOS = 16, MODIFIED = 20, MODIFIED_NANOS = 28;
const LENGTH = 32, PATH = 34;

/** A list of directories and the times they are to have. */
export class DirectoryTimes {
  readonly #chunks: DataView<ArrayBuffer>[] = [];
  readonly #lengths: number[] = [];

  /**
   * Takes note of a directory's entry.
   *
   * @param real  the directory's real path, on which no link lies
   * @param inode the directory's own
   */
  add(entry: Entry, real: string, inode: bigint): void {
    const path = encode(real);
    const size = PATH + path.length;
    let last = this.#chunks.length - 1;
    if (last < 0 || this.#lengths[last] + size > CHUNK) {
      last = this.#chunks.push(new DataView(new ArrayBuffer(CHUNK))) - 1;
      this.#lengths.push(0);
    }
    const view = this.#chunks[last], at = this.#lengths[last];
    view.setBigUint64(at + INODE, inode);
    view.setFloat64(at + ACCESS, entry.accessSeconds);
    view.setUint32(at + ACCESS_NANOS, entry.accessNanos);
    view.setFloat64(at + MODIFIED, entry.seconds);
    view.setUint32(at + MODIFIED_NANOS, entry.nanos);
    view.setUint16(at + LENGTH, path.length);
    new Uint8Array(view.buffer).set(path, at + PATH);
    this.#lengths[last] = at + size;
  }

  /**
   * Sets them all, in the order of the tar: of two entries for one directory the later one counts.
   *
   * @param open opens the directory at a real path, raw
   */
  apply(open: (path: string) => number): void {
    const times = new Times(), stat = new Stat();
    for (const [i, view] of this.#chunks.entries()) {
      for (let at = 0; at < this.#lengths[i];) {
        const length = view.getUint16(at + LENGTH);
        const path = decode(new Uint8Array(view.buffer, at + PATH, length));
        const fd = open(path);
        if (fd >= 0) {
          times.set(
            view.getFloat64(at + ACCESS),
            view.getUint32(at + ACCESS_NANOS),
            view.getFloat64(at + MODIFIED),
            view.getUint32(at + MODIFIED_NANOS),
          );
          const inode = view.getBigUint64(at + INODE);
          withFd(fd, () => {
            // A later entry may have put another directory there, which has its own record or none.
            if (fstat(fd, stat).inode !== inode) return;
            unwrap(tryFutimens(fd, times), "futimens", path);
          });
        } else if (fd !== -ENOENT && fd !== -ENOTDIR && fd !== -ELOOP) unwrap(fd, "openat2", path);
        at += PATH + length;
      }
    }
  }
}
