/**
 * How long a count of a snapshot's space may be told again.
 *
 * containerd asks for the space of each container every ten seconds, and where the kernel keeps no
 * counters, each answer takes a look at every file. So a service gives an answer again for a while,
 * and the longer the count took the longer.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** The key of the `-o` option. */
export const USAGE_AGE_OPTION = "usage.age";

/** The default of that option, in seconds. */
export const USAGE_AGE = 60;

/** A count is made again after as many times its duration, so that counting takes 2 % of a thread. */
const REST = 50;

/** Reads the option: seconds. @throws {VeneerError} `invalid argument` with its rule */
export function parseUsageAge(text = `${USAGE_AGE}`): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new VeneerError(
    "invalid argument",
    `${USAGE_AGE_OPTION} ${JSON.stringify(text)}: it must be a number of seconds`,
  );
}

/**
 * For how long, in milliseconds, the answer of a count may be told again; 0 if not at all.
 *
 * @param duration the count's, in milliseconds
 * @param atLeast the option's seconds; 0 to count at each call
 */
export const ageOf = (duration: number, atLeast: number): number =>
  atLeast === 0 ? 0 : Math.max(atLeast * 1000, REST * duration);
