/**
 * Sizes as people write and read them.
 *
 * @module
 */
import { VeneerError } from "./errors.ts";

const UNITS = ["b", "k", "m", "g", "t", "p"] as const;

/**
 * Bytes of a size such as `10G`, `1.5 GiB`, `512kb` or `4096`, as Docker's storage options read
 * them: units are powers of 1024 whether they are written `k`, `kb` or `KiB`; a fraction of a byte
 * is dropped.
 *
 * @param name of the option, for the message
 * @throws {VeneerError} `invalid argument` if the text is not a size, is negative, or is above 2^53
 * - 1
 */
export function parseSize(text: string, name = "size"): number {
  const match = /^\+?((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?([kmgtp]?)(i?)(b?)$/i.exec(text);
  const invalid = (rule: string) =>
    new VeneerError("invalid argument", `${name} ${JSON.stringify(text)}: ${rule}`);
  if (!match || (match[3] && !(match[2] && match[4]))) {
    throw invalid("a size is a number and a unit, such as 512M, 10G or 1.5GiB");
  }
  const unit = UNITS.indexOf((match[2].toLowerCase() || "b") as typeof UNITS[number]);
  const bytes = Math.trunc(Number(match[1]) * 1024 ** unit);
  if (!Number.isSafeInteger(bytes)) throw invalid("it is more than 8 PiB");
  return bytes;
}

/**
 * A number of files.
 *
 * @param name of the option, for the message
 * @throws {VeneerError} `invalid argument` if the text is not one, or is above 2^53 - 1
 */
export function parseCount(text: string, name: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(count)) return count;
  throw new VeneerError(
    "invalid argument",
    `${name} ${JSON.stringify(text)}: it must be a number of files`,
  );
}

/**
 * A size in the largest unit that leaves it above one, with at most four digits: `1.5 GiB`,
 * `340 B`.
 */
export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const shown = (unit: number) => Number((bytes / 1024 ** unit).toPrecision(4));
  let unit = 0;
  // By the rounded value: one byte less than 1 MiB is not 1024 KiB.
  while (shown(unit) >= 1024 && unit < units.length - 1) unit++;
  return `${shown(unit)} ${units[unit]}`;
}
