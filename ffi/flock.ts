/**
 * `flock(2)`: advisory locks on open files, between processes and between threads that opened the
 * file separately. A lock belongs to the open file, so it ends with the last descriptor of that
 * file: a killed process holds none.
 *
 * Never waits: a caller that may wait sleeps and tries again, and so keeps the bound.
 *
 * @module
 */
import { EAGAIN, EINTR } from "./errno.ts";
import { E, io } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

// `asm-generic/fcntl.h`.
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** `flock(2)`, raw, again after EINTR: 0 or `-errno`. Without `LOCK_NB` it blocks the thread. */
export function tryFlock(fd: number, operation: number): number {
  for (;;) {
    const got = io.flock()(fd, operation);
    const result = got < 0 ? -E[0] : got;
    if (result !== -EINTR) return result;
  }
}

/** How a lock is held: by many at once (`shared`), or by one alone (`exclusive`). */
export type LockMode = "shared" | "exclusive";

/**
 * Takes the lock, or changes the one held. Returns false at once if others hold it.
 *
 * A change that fails may have lost the lock that was held (flock(2)).
 *
 * @param path the path of `fd`, for messages
 */
export function tryLock(fd: number, mode: LockMode, path?: string): boolean {
  const result = tryFlock(fd, (mode === "shared" ? LOCK_SH : LOCK_EX) | LOCK_NB);
  if (result === -EAGAIN) return false;
  unwrap(result, "flock", path);
  return true;
}
