/**
 * Pax extended headers: values that do not fit in a header block, as records `LENGTH KEY=VALUE\n`.
 *
 * Sources: POSIX.1-2017 `pax`, "pax Header Block"; GNU tar's manual, "Storing Sparse Files";
 * `star(5)` for `SCHILY.xattr.`. Values are kept as bytes: names and attributes need not be UTF-8.
 *
 * @module
 */
import { decode } from "../../../ffi/cstring.ts";
import { quoted } from "./bad_tar.ts";
import { clampTime, type Xattr, XATTR_PREFIX } from "../header.ts";

/** A point in time: whole seconds since the epoch, rounded down, and nanoseconds. */
export type Timestamp = readonly [seconds: number, nanos: number];

/** The prefix of the keys of sparse files. */
const SPARSE_PREFIX = "GNU.sparse.";

/** The values of the `GNU.sparse.` keys. */
export interface SparseRecords {
  /** The file's own name, if the header has a made-up one. */
  name?: Uint8Array;
  /** The format's number: 1 if the map is at the start of the data. */
  major?: number;
  /** The file's length in bytes: `realsize` in format 1.0, `size` in the older ones. */
  realSize?: number;
  size?: number;
  /** Format 0.1: offsets and lengths, in turn. */
  map?: number[];
  /** The same of format 0.0, which repeats a pair of keys for each fragment. */
  readonly pairs: number[];
}

/** The values of the records before an entry. For absent keys the header's own fields are used. */
export class Extensions {
  path: Uint8Array | undefined;
  linkPath: Uint8Array | undefined;
  size: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  modified: Timestamp | undefined;
  accessed: Timestamp | undefined;
  readonly #xattrs = new Map<string, Uint8Array<ArrayBuffer>>();
  sparse: SparseRecords | undefined;

  /** Of a name that comes more than once, the last value. */
  get xattrs(): readonly Xattr[] {
    return [...this.#xattrs];
  }

  /** Reads records, whose values stay views of these bytes. @throws {RangeError} with the fault */
  parse(bytes: Uint8Array<ArrayBuffer>): void {
    for (let at = 0; at < bytes.length;) at = this.#record(bytes, at);
  }

  #record(bytes: Uint8Array<ArrayBuffer>, start: number): number {
    let at = start, length = 0;
    for (; bytes[at] >= 0x30 && bytes[at] <= 0x39 && length <= bytes.length; at++) {
      length = length * 10 + bytes[at] - 0x30;
    }
    const end = start + length;
    const equals = bytes.indexOf(0x3d, at);
    if (
      at === start || bytes[at] !== 0x20 || end > bytes.length || bytes[end - 1] !== 0x0a ||
      equals < 0 || equals >= end || equals === at + 1
    ) {
      // Some writers count padding with zeros as records.
      if (at === start && bytes.subarray(start).every((byte) => byte === 0)) return bytes.length;
      throw new RangeError("a pax record is malformed");
    }
    const key = bytes.subarray(at + 1, equals);
    if (key.includes(0)) throw new RangeError("the key of a pax record holds a NUL byte");
    this.#set(decode(key), bytes.subarray(equals + 1, end - 1));
    return end;
  }

  #set(key: string, value: Uint8Array<ArrayBuffer>): void {
    switch (key) {
      case "path":
        this.path = name(key, value);
        break;
      case "linkpath":
        this.linkPath = name(key, value);
        break;
      case "size":
        this.size = integer(key, value);
        break;
      case "uid":
        this.uid = integer(key, value);
        break;
      case "gid":
        this.gid = integer(key, value);
        break;
      case "mtime":
        this.modified = timestamp(key, value);
        break;
      case "atime":
        this.accessed = timestamp(key, value);
        break;
      case "uname":
      case "gname":
        // Names of owners are not used; but a NUL in one is refused.
        name(key, value);
        break;
      default:
        if (key.startsWith(XATTR_PREFIX)) {
          this.#xattr(attributeName(key.slice(XATTR_PREFIX.length)), value);
        } else if (key.startsWith(SPARSE_PREFIX)) {
          this.#setSparse(key, value, this.sparse ??= { pairs: [] });
        }
    }
  }

  #setSparse(key: string, value: Uint8Array, sparse: SparseRecords): void {
    switch (key.slice(SPARSE_PREFIX.length)) {
      case "name":
        sparse.name = name(key, value);
        break;
      case "major":
        sparse.major = integer(key, value);
        break;
      case "realsize":
        sparse.realSize = integer(key, value);
        break;
      case "size":
        sparse.size = integer(key, value);
        break;
      case "map":
        sparse.map = value.length === 0 ? undefined : integers(key, value);
        break;
      case "offset":
        pair(sparse.pairs, 0, integer(key, value));
        break;
      case "numbytes":
        pair(sparse.pairs, 1, integer(key, value));
        break;
      case "minor":
      case "numblocks":
        // Numbers as well, although they repeat the others.
        integer(key, value);
    }
  }

  #xattr(key: string, value: Uint8Array<ArrayBuffer>): void {
    if (key === "") throw new RangeError("the name of an extended attribute is empty");
    this.#xattrs.set(key, value);
  }
}

/** Takes one half of a fragment. */
function pair(pairs: number[], half: 0 | 1, value: number | undefined): void {
  if (pairs.length % 2 !== half) {
    throw new RangeError("GNU.sparse.offset and GNU.sparse.numbytes do not alternate");
  }
  pairs.push(value ?? NaN);
}

/**
 * An attribute's name from a key, in which GNU tar writes `=`, which would end the key, as `%3D`,
 * and `%` as `%25`.
 */
function attributeName(text: string): string {
  return text.replace(/%3D|%25/g, (escaped) => escaped === "%25" ? "%" : "=");
}

function name(key: string, value: Uint8Array): Uint8Array | undefined {
  if (value.includes(0)) {
    throw new RangeError(`the pax ${key} ${quoted(decode(value))} holds a NUL byte`);
  }
  return value.length === 0 ? undefined : value;
}

/** A decimal number; an empty value takes the record back. */
function integer(key: string, value: Uint8Array): number | undefined {
  if (value.length === 0) return undefined;
  const text = decode(value);
  const result = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(result)) {
    throw new RangeError(`the pax ${key} ${quoted(text.slice(0, 40))} is not a whole number`);
  }
  return result;
}

/** Decimal numbers with commas between them. */
function integers(key: string, value: Uint8Array): number[] {
  return decode(value).split(",").map((text) => {
    if (/^\d{1,16}$/.test(text)) return Number(text);
    throw new RangeError(`the pax ${key} holds ${quoted(text.slice(0, 40))}, not a number`);
  });
}

/** Seconds with an optional fraction, rounded down to nanoseconds. */
function timestamp(key: string, value: Uint8Array): Timestamp | undefined {
  if (value.length === 0) return undefined;
  const text = decode(value);
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text);
  if (!match) {
    throw new RangeError(`the pax ${key} ${quoted(text.slice(0, 40))} is not a time`);
  }
  const [, sign, whole, fraction = ""] = match;
  const seconds = clampTime(Number(whole)), nanos = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign === "") return [seconds, nanos];
  return nanos === 0 ? [-seconds, 0] : [-seconds - 1, 1_000_000_000 - nanos];
}
