/**
 * C strings, and file names as JavaScript strings without loss.
 *
 * A file name is any bytes but NUL and `/`; a JavaScript string is UTF-16. A name that is valid
 * UTF-8 is that text; every byte that is not part of valid UTF-8 stands as the lone surrogate
 * U+DC80..U+DCFF (byte 0x80..0xFF), which no valid text contains. `encode(decode(bytes))` is
 * `bytes` for any bytes.
 *
 * @module
 */

/** Bytes of paths that mean something to the kernel. */
export const SLASH = 0x2f, DOT = 0x2e;

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A lone surrogate that stands for a byte: U+DC80..U+DCFF not preceded by a high surrogate. */
const ESCAPED_BYTE = /(?<![\ud800-\udbff])[\udc80-\udcff]/g;

/** The text of a file name's bytes (without the terminating NUL). */
export function decode(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return decodeEscaping(bytes);
  }
}

/**
 * Decodes byte by byte and escapes bytes that are not UTF-8: slow, for the rare name that needs it.
 */
function decodeEscaping(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length;) {
    const length = sequenceLength(bytes[i]);
    try {
      if (i + length > bytes.length) throw new TypeError("cut short");
      text += strictUtf8.decode(bytes.subarray(i, i + length));
      i += length;
    } catch {
      text += String.fromCharCode(0xdc00 + bytes[i]);
      i++;
    }
  }
  return text;
}

/** How many bytes the UTF-8 sequence that starts with `first` claims to have. */
function sequenceLength(first: number): number {
  return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/**
 * The bytes of a file name's text: the reverse of {@linkcode decode}, without a terminating NUL.
 */
export function encode(text: string): Uint8Array<ArrayBuffer> {
  if (text.isWellFormed()) return utf8.encode(text);
  const parts: Uint8Array[] = [];
  let done = 0;
  for (const match of text.matchAll(ESCAPED_BYTE)) {
    parts.push(utf8.encode(text.slice(done, match.index)));
    parts.push(Uint8Array.of(match[0].charCodeAt(0) - 0xdc00));
    done = match.index + 1;
  }
  parts.push(utf8.encode(text.slice(done)));
  const bytes = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A path for a system call: text, or bytes that already end with NUL. */
export type Path = string | Uint8Array<ArrayBuffer>;

/**
 * A NUL-terminated copy of a string, for `const char *` parameters.
 *
 * @throws {TypeError} if the text or the bytes hold a NUL before their end: C would silently end
 * there
 */
export function cstring(text: Path): Uint8Array<ArrayBuffer> {
  if (typeof text !== "string") {
    if (text.length === 0 || text.indexOf(0) !== text.length - 1) {
      throw new TypeError("the bytes of a C string must end with their only NUL");
    }
    return text;
  }
  if (text.includes("\0")) {
    throw new TypeError(
      `${JSON.stringify(text)} holds a NUL byte, which no path can`,
    );
  }
  const bytes = encode(text);
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

/** The text of a path, for messages: the argument of {@linkcode cstring} as a string. */
export function pathText(path: Path): string {
  return typeof path === "string" ? path : decode(path.subarray(0, path.length - 1));
}
