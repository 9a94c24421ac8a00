/**
 * Moving data between descriptors inside the kernel: `sendfile(2)`, `splice(2)` and
 * `copy_file_range(2)`.
 *
 * @module
 */
import { EINTR } from "./errno.ts";
import { E, io } from "./libc.ts";

/**
 * `sendfile(2)`, raw: moves up to `count` bytes between files' current offsets, inside the kernel.
 */
export function trySendfile(out: number, from: number, count: number): number {
  const result = io.sendfile64()(out, from, null, count);
  return result < 0 ? -E[0] : result;
}

const offset = new BigInt64Array(1);
const offsetBytes = new Uint8Array(offset.buffer);

/**
 * `sendfile(2)`, raw: moves up to `count` bytes from `position` (in bytes) of a file to another's
 * current offset. The input's own offset stays: two threads can take from one descriptor.
 */
export function trySendfileAt(
  out: number,
  from: number,
  position: number,
  count: number,
): number {
  for (;;) {
    offset[0] = BigInt(position);
    const moved = io.sendfile64()(out, from, offsetBytes, count);
    const result = moved < 0 ? -E[0] : moved;
    if (result !== -EINTR) return result;
  }
}

/** `splice(2)`, raw, if one end is a pipe: moves up to `count` bytes at the current offsets. */
export function trySplice(from: number, out: number, count: number): number {
  const SPLICE_F_MOVE = 1;
  const result = io.splice()(from, null, out, null, count, SPLICE_F_MOVE);
  return result < 0 ? -E[0] : result;
}

/**
 * `copy_file_range(2)`, raw: copies up to `count` bytes between files' current offsets, or has the
 * files share them if their file system can.
 */
export function tryCopyFileRange(from: number, out: number, count: number): number {
  const result = io.copy_file_range()(from, null, out, null, count, 0);
  return result < 0 ? -E[0] : result;
}
