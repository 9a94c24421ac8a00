/**
 * Calls that change what the kernel has mounted or what its drivers keep, told as they are made.
 *
 * @module
 */

/**
 * Set {@linkcode tell} to be told, in words, of each such call of this thread before it is made.
 * Written as `calls.tell?.(…)`, so that the words are made only if they are wanted.
 */
export const calls: { tell?: (call: string) => void } = {};
