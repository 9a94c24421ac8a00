/**
 * Formats points in time: RFC 3339, in UTC.
 *
 * @module
 */

/** `2026-11-21T11:33:18Z` @param microseconds since 1970 */
export function secondTime(microseconds: number): string {
  return microsecondTime(microseconds).replace(/\.\d+/, "");
}

/**
 * Formats a time from another program, such as an image's, in seconds. Text that is not a time is
 * returned unchanged.
 */
export function secondOf(text: string): string {
  const at = Date.parse(text);
  return Number.isNaN(at) ? text : secondTime(at * 1000);
}

/** `2026-11-21T11:33:18.123456Z` @param microseconds since 1970 */
export function microsecondTime(microseconds: number): string {
  const rest = String(microseconds % 1000).padStart(3, "0");
  return new Date(Math.floor(microseconds / 1000)).toISOString().replace("Z", `${rest}Z`);
}
