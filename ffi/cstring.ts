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

/** What a byte that is not UTF-8 is added to. */
const ESCAPE = 0xdc00;

/** A call takes so many arguments at least in any engine. */
const MOST_ARGUMENTS = 4096;

/**
 * The most bytes of which the text is put together here. The runtime's decoder takes three to six
 * times as long for a name of 12 bytes, and as long for one of 64.
 */
const SHORT_NAME = 32;

/** The text of a file name's bytes (without the terminating NUL). */
export function decode(bytes: Uint8Array): string {
  if (bytes.length <= SHORT_NAME) {
    const text = asciiText(bytes);
    if (text !== undefined) return text;
  }
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return decodeEscaping(bytes);
  }
}

/**
 * The text of bytes that are all ASCII; else `undefined`. For a few bytes it is quicker than the
 * runtime's decoder.
 */
export function asciiText(bytes: Uint8Array): string | undefined {
  let text = "";
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] >= 0x80) return undefined;
    text += String.fromCharCode(bytes[i]);
  }
  return text;
}

/**
 * Decodes and escapes bytes that are not UTF-8. An exception for each would take 30 us, and a tar
 * or a directory can have millions of them, so sequences are checked here.
 */
function decodeEscaping(bytes: Uint8Array): string {
  // No sequence has more UTF-16 units than bytes.
  const units = new Uint16Array(bytes.length);
  let count = 0;
  for (let i = 0; i < bytes.length;) {
    const first = bytes[i];
    const length = sequenceLength(bytes, i);
    if (length === 0) units[count++] = ESCAPE + first;
    else if (length === 1) units[count++] = first;
    else {
      let point = first & (0x7f >> length);
      for (let at = i + 1; at < i + length; at++) point = point << 6 | bytes[at] & 0x3f;
      if (point < 0x10000) units[count++] = point;
      else {
        units[count++] = 0xd800 + (point - 0x10000 >> 10);
        units[count++] = 0xdc00 + (point & 0x3ff);
      }
    }
    i += length || 1;
  }
  let text = "";
  for (let at = 0; at < count; at += MOST_ARGUMENTS) {
    text += String.fromCharCode(...units.subarray(at, Math.min(count, at + MOST_ARGUMENTS)));
  }
  return text;
}

/**
 * The length of the valid UTF-8 sequence at a place; 0 if there is none (table 3-7 of the Unicode
 * standard: no longer form than needed, no surrogate, nothing above U+10FFFF).
 */
function sequenceLength(bytes: Uint8Array, at: number): 0 | 1 | 2 | 3 | 4 {
  const first = bytes[at];
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  const second = bytes[at + 1];
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return 0;
  for (let i = at + 2; i < at + length; i++) if ((bytes[i] & 0xc0) !== 0x80) return 0;
  return length;
}

/**
 * The bytes of a file name's text: the reverse of {@linkcode decode}, without a terminating NUL.
 */
export function encode(text: string): Uint8Array<ArrayBuffer> {
  if (text.isWellFormed()) return utf8.encode(text);
  // A UTF-16 unit has at most three bytes.
  const bytes = new Uint8Array(text.length * 3);
  let done = 0, length = 0;
  const put = (end: number) => {
    if (end > done) {
      length += utf8.encodeInto(text.slice(done, end), bytes.subarray(length)).written;
    }
  };
  for (const { index } of text.matchAll(ESCAPED_BYTE)) {
    put(index);
    bytes[length++] = text.charCodeAt(index) - ESCAPE;
    done = index + 1;
  }
  put(text.length);
  return bytes.slice(0, length);
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
