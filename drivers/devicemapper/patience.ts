/**
 * Waits for devices that are in use.
 *
 * @module
 */
import { EBUSY } from "../../ffi/errno.ts";
import { sleep } from "../../lib/base/sleep.ts";

/** The longest wait for a busy device, in milliseconds. */
export const PATIENCE = 10_000;

/** The same for operations that do not fail if the device stays busy. */
export const BRIEF_PATIENCE = 1000;

/** The time between two tries, in milliseconds. */
const PAUSE = 50;

/**
 * Tries until the device is no longer busy, or until the time is over.
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
