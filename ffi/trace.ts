/**
 * A trace of the calls that change the kernel's mounts or the state of its drivers.
 *
 * @module
 */

/**
 * Set {@linkcode tell} to get a text for each such call of this thread before it is made.
 * Written as `calls.tell?.(…)`, so that the text is made only if it is wanted.
 */
export const calls: { tell?: (call: string) => void } = {};
