/**
 * Waiting for a descriptor that is in non-blocking mode, as one that came from another program may be.
 *
 * @module
 */
import { EAGAIN, EINTR } from "./errno.ts";
import { E, io } from "./libc.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `struct pollfd` of `poll.h`; the 16-bit `events` and `revents` are one after the other from offset 4. */
export const POLLFD = layout("struct pollfd", 8, {
  fd: ["i32", 0],
  events: ["u16", 4],
  revents: ["u16", 6],
});

/** `asm-generic/poll.h`: writing will not block. */
const POLLOUT = 0x4;

/** Blocks until a write to `fd` can make progress or fail (`poll(2)`). */
export function waitWritable(fd: number): void {
  const request = new Struct(POLLFD).set("fd", fd).set("events", POLLOUT);
  for (;;) {
    const ready = io().poll(request.bytes, 1, -1);
    const result = ready < 0 ? -E[0] : ready;
    if (result !== -EINTR && result !== -EAGAIN) return void unwrap(result, "poll");
  }
}
