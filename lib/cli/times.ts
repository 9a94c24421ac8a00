/**
 * Points of time as they are printed: RFC 3339, in UTC.
 *
 * @module
 */

/** `2026-11-21T11:33:18Z` @param microseconds since 1970 */
export function secondTime(microseconds: number): string {
  return microsecondTime(microseconds).replace(/\.\d+/, "");
}

/**
 * The second of a time that somebody else wrote, such as an image's; as it is if it is no RFC 3339.
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
