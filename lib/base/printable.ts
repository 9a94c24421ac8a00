/**
 * Text that comes from a store or a tar, made fit for a terminal and for a line.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";

/** Control characters as octal escapes of their bytes, `\012` for a newline; all else as it is. */
export function escapeControls(text: string): string {
  return escape(text, /\p{Cc}/gu);
}

/** The same, and backslashes as `\134`: so that the original can be restored. */
export function escapePath(path: string): string {
  return escape(path, /[\p{Cc}\\]/gu);
}

function escape(text: string, characters: RegExp): string {
  return text.replace(
    characters,
    (character) =>
      Array.from(encode(character), (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join(""),
  );
}
