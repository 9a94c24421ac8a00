/**
 * Entries as a tar writes them: a ustar header, and before it a pax extended header for values that
 * do not fit in ustar.
 *
 * The formats are those of POSIX.1-2008 (`pax`, "ustar Interchange Format" and "pax Extended
 * Header"). A pax header is written only if it is needed: for a name or link target that is too
 * long or not ASCII, a size, id or time that its octal field cannot hold, a fraction of a second,
 * and extended attributes (as `SCHILY.xattr.NAME`, the value raw). The records of an entry come in
 * a fixed order and no field depends on the machine, so that one tree always makes the same bytes.
 *
 * @module
 */
import { encode, SLASH } from "../../../ffi/cstring.ts";
import {
  BLOCK,
  BLOCK_DEVICE,
  CHARACTER_DEVICE,
  CHECKSUM,
  type Field,
  GID,
  LINK_NAME,
  MAGIC,
  MAJOR,
  MINOR,
  MODE,
  MTIME,
  NAME,
  PAX,
  PREFIX,
  SIZE,
  TYPE,
  UID,
  type Xattr,
  XATTR_PREFIX,
} from "../header.ts";

/** An entry as it is written. Mutable, as one object serves all entries of a tar. */
export interface TarRecord {
  /** Relative to the layer's root; of a directory with a slash at its end. No NUL. */
  path: Uint8Array;
  /** A `typeflag` of `header.ts`, from `REGULAR` to `FIFO`. */
  type: number;
  /** Permission bits, with set-user-id and the like. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of data that follow; 0 for all but files. */
  size: number;
  /**
   * Of the last modification: whole seconds since the epoch, rounded down, and the nanoseconds on
   * top.
   */
  seconds: number;
  nanos: number;
  /** The target of a link. */
  link: Uint8Array;
  /** Of a device. */
  major: number;
  minor: number;
  xattrs: readonly Xattr[];
}

/** The largest number that a field holds in octal: its last byte is a NUL. */
const largest = ([, length]: Field): number => 8 ** (length - 1) - 1;
const LARGEST_ID = largest(UID), LARGEST_SIZE = largest(SIZE), LARGEST_TIME = largest(MTIME);
const NAME_LENGTH = NAME[1], PREFIX_LENGTH = PREFIX[1];

const NEWLINE = 0x0a, SPACE = 0x20, ZERO = 0x30, EQUALS = 0x3d;
/** The magic `ustar`, NUL, and the version `00`. */
const USTAR = Uint8Array.of(0x75, 0x73, 0x74, 0x61, 0x72, 0, ZERO, ZERO);

/**
 * Writes the entry's ustar header as the 512 bytes at `at`; values that do not fit are left to its
 * pax header.
 */
export function encodeHeader(record: TarRecord, target: Uint8Array, at: number): void {
  target.fill(0, at, at + BLOCK);
  encodeName(record.path, target, at);
  const { uid, gid, size, seconds } = record;
  octal(target, at, MODE, record.mode);
  octal(target, at, UID, uid <= LARGEST_ID ? uid : 0);
  octal(target, at, GID, gid <= LARGEST_ID ? gid : 0);
  octal(target, at, SIZE, size <= LARGEST_SIZE ? size : 0);
  octal(target, at, MTIME, seconds >= 0 && seconds <= LARGEST_TIME ? seconds : 0);
  target[at + TYPE] = record.type;
  target.set(cut(record.link), at + LINK_NAME[0]);
  target.set(USTAR, at + MAGIC);
  if (record.type === CHARACTER_DEVICE || record.type === BLOCK_DEVICE) {
    octal(target, at, MAJOR, record.major);
    octal(target, at, MINOR, record.minor);
  }
  seal(target, at);
}

/**
 * The name goes whole into its field, or is split at a slash, or is cut: then a pax record has it.
 */
function encodeName(path: Uint8Array, target: Uint8Array, at: number): void {
  const split = splitAt(path);
  if (split > 0) {
    target.set(path.subarray(0, split), at + PREFIX[0]);
    target.set(path.subarray(split + 1), at + NAME[0]);
  } else {
    target.set(cut(path), at + NAME[0]);
  }
}

const cut = (text: Uint8Array) => text.length <= NAME_LENGTH ? text : text.subarray(0, NAME_LENGTH);

/**
 * The position at which a path can be split into prefix and name: 0 if it fits whole, -1 if it
 * cannot be split.
 */
function splitAt(path: Uint8Array): number {
  if (path.length <= NAME_LENGTH) return 0;
  const slash = path.lastIndexOf(SLASH, Math.min(PREFIX_LENGTH, path.length - 2));
  return slash > 0 && path.length - slash - 1 <= NAME_LENGTH ? slash : -1;
}

/**
 * Writes a field of the header at `at` as octal digits; the NUL that ends them is there already.
 */
function octal(target: Uint8Array, at: number, field: Field, value: number): void {
  digits(target, at + field[0], field[1] - 1, value);
}

/** Writes an octal number of so many digits. */
function digits(target: Uint8Array, at: number, count: number, value: number): void {
  // Ten digits are as many as 32-bit arithmetic can do; only an eleventh is above them.
  const HIGH = 2 ** 30;
  let low = value % HIGH;
  for (let i = at + count - 1; i >= at; i--) {
    target[i] = ZERO + (low & 7);
    low >>>= 3;
  }
  if (value >= HIGH) target[at] = ZERO + Math.trunc(value / HIGH);
}

/** Fills in the checksum: six digits, NUL, space; it is taken with the field itself as spaces. */
function seal(target: Uint8Array, at: number): void {
  const [offset, length] = CHECKSUM;
  let sum = length * SPACE;
  for (let i = at; i < at + BLOCK; i++) sum += target[i];
  digits(target, at + offset, length - 2, sum);
  target[at + offset + length - 1] = SPACE;
}

/** A pax header's own header, but for its size; the name is for readers that know no pax. */
const PAX_HEADER = (() => {
  const block = new Uint8Array(BLOCK);
  block.set(new TextEncoder().encode("././@PaxHeader"));
  for (const field of [MODE, UID, GID, MTIME]) octal(block, 0, field, 0);
  block[TYPE] = PAX;
  block.set(USTAR, MAGIC);
  return block;
})();

/** The pax records of one entry; reused, and valid until the next entry. */
export class PaxRecords {
  #bytes = new Uint8Array(4096);
  #length = 0;

  /** Takes the records that an entry needs; false if it needs none. */
  take(record: TarRecord): boolean {
    this.#length = 0;
    const { path, link, size, uid, gid, seconds, nanos } = record;
    if (splitAt(path) < 0 || !isAscii(path)) this.#add("path", path);
    if (link.length > NAME_LENGTH || !isAscii(link)) this.#add("linkpath", link);
    if (size > LARGEST_SIZE) this.#addText("size", String(size));
    if (uid > LARGEST_ID) this.#addText("uid", String(uid));
    if (gid > LARGEST_ID) this.#addText("gid", String(gid));
    if (nanos !== 0 || seconds < 0 || seconds > LARGEST_TIME) {
      this.#addText("mtime", formatTime(seconds, nanos));
    }
    for (const [name, value] of record.xattrs) this.#add(`${XATTR_PREFIX}${keyword(name)}`, value);
    return this.#length > 0;
  }

  /** The records, without padding. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Writes the header that stands before the records as the 512 bytes at `at`. */
  encodeHeader(target: Uint8Array, at: number): void {
    target.set(PAX_HEADER, at);
    octal(target, at, SIZE, this.#length);
    seal(target, at);
  }

  /** Adds a record whose value is text in ASCII. */
  #addText(key: string, value: string): void {
    this.#start(key, value.length);
    this.#putAscii(value);
    this.#bytes[this.#length++] = NEWLINE;
  }

  #add(key: string, value: Uint8Array): void {
    this.#start(key, value.length);
    this.#put(value);
    this.#bytes[this.#length++] = NEWLINE;
  }

  /** Begins `<length> <key>=<value>\n`; the length is that of the whole record, itself included. */
  #start(key: string, valueLength: number): void {
    const name = isAsciiText(key) ? undefined : encode(key);
    const rest = (name ?? key).length + valueLength + 3;
    let length = rest + decimalDigits(rest);
    length = rest + decimalDigits(length);
    this.#reserve(length);
    this.#putAscii(String(length));
    this.#bytes[this.#length++] = SPACE;
    if (name) this.#put(name);
    else this.#putAscii(key);
    this.#bytes[this.#length++] = EQUALS;
  }

  #putAscii(text: string): void {
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  #put(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.bytes);
    this.#bytes = larger;
  }
}

function isAscii(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] >= 0x80) return false;
  return true;
}

function isAsciiText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}

/** How many decimal digits a positive integer has. */
const decimalDigits = (value: number) => String(value).length;

/** A time as pax has it: decimal, with as many digits of a fraction as it needs. */
function formatTime(seconds: number, nanos: number): string {
  if (nanos === 0) return String(seconds);
  // Before the epoch the whole and the fraction are counted towards zero, not down.
  const negative = seconds < 0;
  const whole = negative ? -seconds - 1 : seconds;
  const fraction = negative ? 1_000_000_000 - nanos : nanos;
  const text = `${negative ? "-" : ""}${whole}.${String(fraction).padStart(9, "0")}`;
  return text.endsWith("0") ? text.replace(/0+$/, "") : text;
}

/**
 * An attribute's name in a record's key, which `=` would end: GNU tar writes that as `%3D`, and so
 * `%` as `%25`. Others read keys as they are, so a name that reads the same either way is left
 * alone.
 */
function keyword(name: string): string {
  if (!/=|%3D|%25/.test(name)) return name;
  return name.replaceAll("%", "%25").replaceAll("=", "%3D");
}
