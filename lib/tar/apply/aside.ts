/**
 * Files that an aufs host kept below `.wh..wh.plnk` for their other names to be hard links to (its
 * "pseudo-links"). Layers that such hosts pushed have them in front of these links.
 *
 * They are put into a separate directory while a tar is applied, where the links find them, and are
 * deleted with it at the end. No tar can write to its name: it is a name of aufs's metadata, which
 * is left out.
 *
 * @module
 */
import { encode, SLASH } from "../../../ffi/cstring.ts";
import { type EntryName, entryName } from "../../../ffi/entry_name.ts";
import type { Entry } from "../read/entry.ts";

/** The directory at the layer's root. */
const ASIDE_TEXT = ".wh..wh.aside";
export const ASIDE: EntryName = entryName(ASIDE_TEXT);
const FROM = encode(".wh..wh.plnk/");
const TO = encode(".wh..wh.aside/");

/**
 * Redirects a path right below `.wh..wh.plnk` to the directory of such files; false for any other
 * path.
 */
export function leadAside(entry: Pick<Entry, "path" | "pathLength" | "setPath">): boolean {
  const { path, pathLength } = entry;
  const name = path.subarray(FROM.length, pathLength);
  if (name.length === 0 || name.includes(SLASH)) return false;
  if (!FROM.every((byte, i) => path[i] === byte)) return false;
  const raw = new Uint8Array(TO.length + name.length);
  raw.set(TO);
  raw.set(name, TO.length);
  entry.setPath(raw, raw.length);
  return true;
}

/** Whether a directory, by its real path from the layer's root, is the one aside or lies in it. */
export const isAside = (directory: string): boolean =>
  directory === ASIDE_TEXT || directory.startsWith(`${ASIDE_TEXT}/`);
