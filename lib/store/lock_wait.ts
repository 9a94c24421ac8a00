/**
 * Waits for locks of other processes.
 *
 * @module
 */
import { type LockMode, tryLock } from "../../ffi/flock.ts";
import { VeneerError } from "../base/errors.ts";
import { holdersOf } from "../base/processes.ts";
import { sleep } from "../base/sleep.ts";

/** How long an operation waits for another one's lock before it gives up, in milliseconds. */
const PATIENCE = 120_000;

/**
 * Waits for a lock, with growing pauses, until it has it or {@linkcode PATIENCE} is at its end.
 *
 * @param what the name of the lock, for the message
 * @throws {VeneerError} `in use` with the holders
 */
export function waitForLock(fd: number, mode: LockMode, what: string): true {
  const deadline = performance.now() + PATIENCE;
  for (let pause = 0.2;; pause = Math.min(pause * 1.5, 20)) {
    if (tryLock(fd, mode, what)) return true;
    if (performance.now() > deadline) {
      throw new VeneerError(
        "in use",
        `${what} has been locked for ${PATIENCE / 1000} s${
          by(holdersOf(fd))
        }; end that process or wait`,
      );
    }
    sleep(pause * (0.5 + Math.random()));
  }
}

/** The holders of a lock, as the end of a message. */
export const by = (holders: readonly string[]) =>
  holders.length > 0 ? ` by ${holders.join(", ")}` : "";
