/**
 * The system's clock.
 *
 * @module
 */
import { clock, E } from "./libc.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `CLOCK_REALTIME` of `linux/time.h`. */
const CLOCK_REALTIME = 0;

/** `struct timespec` of `bits/types/struct_timespec.h`, on 64-bit machines. */
export const TIMESPEC = layout("struct timespec", 16, {
  tv_sec: ["i64", 0],
  tv_nsec: ["i64", 8],
});

/** The present, in whole microseconds since 1970: exact as a number until the year 2255. */
export function microsecondsNow(): number {
  const time = new Struct(TIMESPEC);
  const result = clock.clock_gettime()(CLOCK_REALTIME, time.bytes);
  unwrap(result < 0 ? -E[0] : result, "clock_gettime");
  return time.get("tv_sec") * 1_000_000 + Math.floor(time.get("tv_nsec") / 1000);
}
