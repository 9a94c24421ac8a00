/**
 * The time for which a count of a snapshot's space may be used again.
 *
 * containerd asks for the space of each container every ten seconds. If the kernel has no counters,
 * each count has to look at every file. So a service repeats an answer for a time, which is longer
 * if the count took longer.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** The key of the `-o` option. */
export const USAGE_AGE_OPTION = "usage.age";

/** The default of that option, in seconds. */
export const USAGE_AGE = 60;

/**
 * A count is repeated at the earliest after this many times its duration, so that counting takes at
 * most 2 % of a thread.
 */
const REST = 50;

/** Reads the option; returns seconds. @throws {VeneerError} `invalid argument` with its rule */
export function parseUsageAge(text = `${USAGE_AGE}`): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new VeneerError(
    "invalid argument",
    `${USAGE_AGE_OPTION} ${JSON.stringify(text)}: it must be a number of seconds`,
  );
}

/**
 * The time for which a count may be used again, in milliseconds; 0 if it must not be.
 *
 * @param duration the duration of the count, in milliseconds
 * @param atLeast the option's value in seconds; 0 to count at each call
 */
export const ageOf = (duration: number, atLeast: number): number =>
  atLeast === 0 ? 0 : Math.max(atLeast * 1000, REST * duration);
