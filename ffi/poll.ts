/**
 * Waiting for a descriptor: one in non-blocking mode, as one that came from another program may be,
 * or one with a deadline.
 *
 * @module
 */
import { EAGAIN, EINTR } from "./errno.ts";
import { E, io } from "./libc.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/**
 * `struct pollfd` of `poll.h`; the 16-bit `events` and `revents` are one after the other from
 * offset 4.
 */
export const POLLFD = layout("struct pollfd", 8, {
  fd: ["i32", 0],
  events: ["u16", 4],
  revents: ["u16", 6],
});

// `asm-generic/poll.h`: reading will not block, something happened, or writing will not block.
const POLLIN = 0x1;
const POLLPRI = 0x2;
const POLLOUT = 0x4;

/** Blocks until a write to `fd` can make progress or fail (`poll(2)`). */
export function waitWritable(fd: number): void {
  while (!poll(fd, POLLOUT, -1));
}

/**
 * Whether a write to `fd` can make progress or fail within `timeout` milliseconds. Of a pipe:
 * `PIPE_BUF` (4096) bytes can then be written without blocking.
 */
export function isWritable(fd: number, milliseconds: number): boolean {
  return poll(fd, POLLOUT, milliseconds);
}

/**
 * Blocks until a read of `fd` returns at once: with data, at the end, or with a failure.
 *
 * @param deadline in milliseconds, as `performance.now()` counts them; without one, it waits without
 * end
 * @returns false if the deadline passed
 */
export function waitReadable(fd: number, deadline = Infinity): boolean {
  for (;;) {
    const rest = Math.ceil(deadline - performance.now());
    if (poll(fd, POLLIN, rest === Infinity ? -1 : Math.max(0, rest))) return true;
    if (rest <= 0) return false;
  }
}

/**
 * Whether the content of a file of `/proc` changed since it was opened, or since this was asked
 * last: of lists of mounts (proc(5), `/proc/pid/mountinfo`).
 */
export function hasChanged(fd: number): boolean {
  return poll(fd, POLLPRI, 0);
}

/**
 * Whether the descriptor was ready within `timeout` milliseconds (-1 waits without end). Also false
 * after EINTR.
 */
function poll(fd: number, events: number, timeout: number): boolean {
  const request = new Struct(POLLFD).set("fd", fd).set("events", events);
  const ready = io.poll()(request.bytes, 1, timeout);
  const result = ready < 0 ? -E[0] : ready;
  if (result === -EINTR || result === -EAGAIN) return false;
  return unwrap(result, "poll") > 0;
}
