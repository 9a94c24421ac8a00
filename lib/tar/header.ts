/**
 * The format of a tar, for its readers and its writers: blocks, the fields of a header block and
 * how its numbers are written, types of entries, keys of pax records.
 *
 * Sources: POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format"
 * (`struct oldgnu_header`); `star(5)` for the shorter prefix and for `SCHILY.xattr.`. Everything
 * works on bytes in place: a layer has a hundred thousand headers, and strings are made only if
 * someone reads them.
 *
 * @module
 */

/** Tars are made of blocks of this many bytes. */
export const BLOCK = 512;

/** How many bytes follow `size` bytes to fill their last block. */
export function padding(size: number): number {
  return (BLOCK - size % BLOCK) % BLOCK;
}

/** An extended attribute: its full name as text (see `ffi/cstring.ts`), and its value. */
export type Xattr = readonly [name: string, value: Uint8Array<ArrayBuffer>];

/** The prefix of the key of a pax record that carries an extended attribute. */
export const XATTR_PREFIX = "SCHILY.xattr.";

// Types of entries (`typeflag`), as character codes.
export const REGULAR = 0x30; // '0'
export const REGULAR_V7 = 0;
export const HARD_LINK = 0x31; // '1'
export const SYMBOLIC_LINK = 0x32; // '2'
export const CHARACTER_DEVICE = 0x33; // '3'
export const BLOCK_DEVICE = 0x34; // '4'
export const DIRECTORY = 0x35; // '5'
export const FIFO = 0x36; // '6'
export const CONTIGUOUS = 0x37; // '7'
export const PAX = 0x78; // 'x'
export const PAX_SOLARIS = 0x58; // 'X', Solaris's name for it before POSIX
export const PAX_GLOBAL = 0x67; // 'g'
export const GNU_LONG_NAME = 0x4c; // 'L'
export const GNU_LONG_LINK = 0x4b; // 'K'
export const GNU_SPARSE = 0x53; // 'S'

/** A field: its offset in the block and its length, in bytes. */
export type Field = readonly [offset: number, length: number];

export const NAME: Field = [0, 100];
export const MODE: Field = [100, 8];
export const UID: Field = [108, 8];
export const GID: Field = [116, 8];
export const SIZE: Field = [124, 12];
export const MTIME: Field = [136, 12];
export const CHECKSUM: Field = [148, 8];
/** The offset of the type, which is one byte. */
export const TYPE = 156;
export const LINK_NAME: Field = [157, 100];
export const MAGIC = 257;
export const MAJOR: Field = [329, 8];
export const MINOR: Field = [337, 8];
export const PREFIX: Field = [345, 155];
const STAR_PREFIX: Field = [345, 131];
const STAR_TRAILER = 508;
// Old GNU, in place of the prefix.
const GNU_ATIME: Field = [345, 12];
const GNU_CTIME: Field = [357, 12];
/** Four pairs of offset and length, 12 bytes each. */
export const GNU_SPARSE_MAP = 386;
export const GNU_IS_EXTENDED = 482;
export const GNU_REAL_SIZE: Field = [483, 12];
/** In an extension block: 21 pairs from its start, then the flag. */
export const GNU_EXTENSION_PAIRS = 21;
export const GNU_EXTENSION_IS_EXTENDED = 504;

const SPACE = 0x20;

/** Whether the block at `at` is all zero: half of the end-of-archive marker. */
export function isZeroBlock(bytes: Uint8Array, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (bytes[i] !== 0) return false;
  return true;
}

/**
 * Whether the checksum field agrees with the block, summed as POSIX defines it or, as some did, as
 * signed bytes.
 */
export function checksumAgrees(bytes: Uint8Array, at: number): boolean {
  const [offset, length] = CHECKSUM;
  const stored = number(bytes, at + offset, length);
  let sum = 0;
  for (let i = at; i < at + BLOCK; i++) sum += bytes[i];
  for (let i = at + offset; i < at + offset + length; i++) sum += SPACE - bytes[i];
  if (sum === stored) return true;
  let signed = sum;
  for (let i = at; i < at + BLOCK; i++) if (bytes[i] >= 0x80) signed -= 256;
  for (let i = at + offset; i < at + offset + length; i++) if (bytes[i] >= 0x80) signed += 256;
  return signed === stored;
}

/**
 * A numeric field: octal text between blanks, or (first bit set) a big-endian number in two's
 * complement. `NaN` if it is neither or is not exact in a double. An empty field is 0.
 */
export function number(bytes: Uint8Array, at: number, length: number): number {
  return bytes[at] & 0x80 ? base256(bytes, at, length) : octal(bytes, at, length);
}

function octal(bytes: Uint8Array, at: number, length: number): number {
  const end = at + length;
  while (at < end && bytes[at] === SPACE) at++;
  let value = 0;
  for (; at < end; at++) {
    const digit = bytes[at] - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; at < end; at++) if (bytes[at] !== 0 && bytes[at] !== SPACE) return NaN;
  return value <= Number.MAX_SAFE_INTEGER ? value : NaN;
}

/**
 * Times are taken up to here, and down to its negative, in seconds: the kernel brings them into its
 * file system's range.
 */
export const LATEST_TIME = 2 ** 62;

/**
 * A field of seconds since the epoch: as {@linkcode number}, but one that is too large is the
 * largest.
 */
export function seconds(bytes: Uint8Array, at: number, length: number): number {
  if ((bytes[at] & 0x80) === 0) return octal(bytes, at, length);
  return clampTime(inexactBase256(bytes, at, length));
}

/** The nearest time that the kernel accepts. */
export function clampTime(value: number): number {
  return Math.min(Math.max(value, -LATEST_TIME), LATEST_TIME);
}

function base256(bytes: Uint8Array, at: number, length: number): number {
  const value = inexactBase256(bytes, at, length);
  return Number.isSafeInteger(value) ? value : NaN;
}

function inexactBase256(bytes: Uint8Array, at: number, length: number): number {
  const negative = (bytes[at] & 0x40) !== 0;
  // The first bit marks the form and the second is the sign: spread the sign over both.
  let value = negative ? (bytes[at] | 0x80) - 256 : bytes[at] & 0x3f;
  for (let i = at + 1; i < at + length; i++) value = value * 256 + bytes[i];
  return value;
}

/** The length of a text field: up to its first NUL, or all of it. */
export function textLength(bytes: Uint8Array, [at, length]: Field, base: number): number {
  const end = base + at + length;
  let i = base + at;
  while (i < end && bytes[i] !== 0) i++;
  return i - base - at;
}

/** Dialects of the header, which differ from byte 257 on. */
export type Dialect = "v7" | "ustar" | "star" | "gnu";

/** Which dialect a header is in, by its magic. */
export function dialect(bytes: Uint8Array, at: number): Dialect {
  const magic = at + MAGIC;
  const USTAR = "ustar";
  for (let i = 0; i < USTAR.length; i++) {
    if (bytes[magic + i] !== USTAR.charCodeAt(i)) return "v7";
  }
  if (bytes[magic + 5] === SPACE) return "gnu";
  const trailer = at + STAR_TRAILER;
  const isStar = bytes[trailer] === 0x74 && bytes[trailer + 1] === 0x61 &&
    bytes[trailer + 2] === 0x72 && bytes[trailer + 3] === 0;
  return isStar ? "star" : "ustar";
}

/**
 * The offsets of the name's prefix, or `undefined` if the dialect has none.
 *
 * Old GNU headers have times there. But writers exist (Go's before 1.8) that put a prefix under
 * GNU's magic; so if the times are not numbers and the bytes are plain text, it is a prefix.
 */
export function prefixField(bytes: Uint8Array, at: number, of: Dialect): Field | undefined {
  switch (of) {
    case "v7":
      return undefined;
    case "ustar":
      return PREFIX;
    case "star":
      return STAR_PREFIX;
    case "gnu":
      if (bytes[at + PREFIX[0]] === 0 || gnuTimesAreNumbers(bytes, at)) return undefined;
      return isPlainText(bytes, at) ? PREFIX : undefined;
  }
}

function gnuTimesAreNumbers(bytes: Uint8Array, at: number): boolean {
  return !Number.isNaN(number(bytes, at + GNU_ATIME[0], GNU_ATIME[1])) &&
    !Number.isNaN(number(bytes, at + GNU_CTIME[0], GNU_CTIME[1]));
}

function isPlainText(bytes: Uint8Array, at: number): boolean {
  const length = textLength(bytes, PREFIX, at);
  for (let i = at + PREFIX[0]; i < at + PREFIX[0] + length; i++) {
    if (bytes[i] < SPACE || bytes[i] >= 0x7f) return false;
  }
  return true;
}
