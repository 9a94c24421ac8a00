/**
 * Points of time as they are printed: RFC 3339, in UTC.
 *
 * @module
 */

/** `2026-11-21T11:33:18Z` @param microseconds since 1970 */
export function secondTime(microseconds: number): string {
  return microsecondTime(microseconds).replace(/\.\d+/, "");
}

/** `2026-11-21T11:33:18.123456Z` @param microseconds since 1970 */
export function microsecondTime(microseconds: number): string {
  const rest = String(microseconds % 1000).padStart(3, "0");
  return new Date(Math.floor(microseconds / 1000)).toISOString().replace("Z", `${rest}Z`);
}
