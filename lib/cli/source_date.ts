/**
 * The time that reproducible builds write instead of the present time
 * (reproducible-builds.org/specs/source-date-epoch).
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/**
 * The value of SOURCE_DATE_EPOCH in seconds since 1970, if it is set.
 *
 * @throws {VeneerError} `usage` if it is invalid
 */
export function sourceDate(): number | undefined {
  const text = Deno.env.get("SOURCE_DATE_EPOCH") ?? "";
  if (text === "") return undefined;
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new VeneerError(
    "usage",
    `SOURCE_DATE_EPOCH is ${JSON.stringify(text)}: write seconds since 1970`,
  );
}
