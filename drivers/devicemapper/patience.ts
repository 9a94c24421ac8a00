/**
 * Waiting for devices that are in use.
 *
 * @module
 */
import { EBUSY } from "../../ffi/errno.ts";
import { sleep } from "../../lib/base/sleep.ts";

/** How long a busy device is waited for, in milliseconds. */
export const PATIENCE = 10_000;

/** The same if nothing fails if it stays busy. */
export const BRIEF_PATIENCE = 1000;

/** Between two tries, in milliseconds. */
const PAUSE = 50;

/**
 * Tries until the object is no longer busy or the time is over.
 *
 * @param attempt returns 0 or `-errno`, raw
 */
export function retryBusy(patience: number, attempt: () => number): number {
  const deadline = performance.now() + patience;
  for (;;) {
    const result = attempt();
    if (result !== -EBUSY || performance.now() > deadline) return result;
    sleep(PAUSE);
  }
}
