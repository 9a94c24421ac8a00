/**
 * The one error of a tar that cannot be applied.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";

/** The most characters of a name in a message. */
const LONGEST_NAME = 200;

/** A name as a message shows it: quoted, on one line, cut if it is long. */
export function quoted(name: string): string {
  const text = name.length > LONGEST_NAME ? name.slice(0, LONGEST_NAME) + "…" : name;
  // JSON leaves DEL and the controls of C1 as they are, and a terminal obeys them.
  return JSON.stringify(text).replace(
    /[\x7f-\x9f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16)}`,
  );
}

/**
 * An `invalid argument` with the place and the reason.
 *
 * @param offset of the header in the (uncompressed) tar, in bytes
 * @param reason the fault, without a capital or a full stop
 * @param name of the entry, if it is known
 */
export function badTar(
  offset: number,
  reason: string,
  name?: string,
): VeneerError {
  const entry = name === undefined ? "" : `entry ${quoted(name)} `;
  return new VeneerError("invalid argument", `tar: ${entry}at byte ${offset}: ${reason}`);
}
