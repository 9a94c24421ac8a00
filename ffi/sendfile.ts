/**
 * `sendfile(2)` from an offset of one's own choice, which leaves the input's file position alone: two
 * threads can take from one descriptor.
 *
 * @module
 */
import { EINTR } from "./errno.ts";
import { E, io } from "./libc.ts";

const offset = new BigInt64Array(1);
const offsetBytes = new Uint8Array(offset.buffer);

/** Moves up to `count` bytes from `position` (in bytes) of a file to another's current position, raw. */
export function trySendfileAt(
  out: number,
  from: number,
  position: number,
  count: number,
): number {
  for (;;) {
    offset[0] = BigInt(position);
    const moved = io().sendfile64(out, from, offsetBytes, count);
    const result = moved < 0 ? -E[0] : moved;
    if (result !== -EINTR) return result;
  }
}
