/**
 * A driver's description of its state.
 *
 * @module
 */

/** A line of `status`: a name and a value, as `docker info` prints them. */
export type StatusLine = readonly [name: string, value: string];
