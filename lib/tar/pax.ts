/**
 * Pax extended headers: what does not fit in a header block, as records `LENGTH KEY=VALUE\n`.
 *
 * Sources: POSIX.1-2017 `pax`, "pax Header Block"; GNU tar's manual, "Storing Sparse Files"; `star(5)` for
 * `SCHILY.xattr.`. Values are kept as bytes: names and attributes need not be UTF-8.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";

/** A point in time: whole seconds since the epoch, rounded down, and nanoseconds. */
export type Timestamp = readonly [seconds: number, nanos: number];

/** An attribute of a file: its full name (`security.capability`) and its value. */
export type Xattr = readonly [name: string, value: Uint8Array<ArrayBuffer>];

/** The prefix of a key that carries an extended attribute. */
const XATTR_PREFIX = "SCHILY.xattr.";

/** What the records before an entry say of it. Keys that are absent leave the header's own fields. */
export class Extensions {
  path: Uint8Array | undefined;
  linkPath: Uint8Array | undefined;
  size: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  modified: Timestamp | undefined;
  accessed: Timestamp | undefined;
  xattrs: Xattr[] = [];
  /** The `GNU.sparse.` values but for offset and numbytes, by the rest of their key. */
  sparse: Map<string, string> | undefined;
  /** Format 0.0 repeats a pair of keys for each fragment: offsets and lengths, in turn. */
  sparsePairs: number[] = [];

  /** Reads records. @throws {RangeError} saying what is wrong with them */
  parse(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at = this.#record(bytes, at);
  }

  #record(bytes: Uint8Array, start: number): number {
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
      // Some writers pad with zeros what they counted as records.
      if (at === start && bytes.subarray(start).every((byte) => byte === 0)) return bytes.length;
      throw new RangeError("a pax record is malformed");
    }
    this.#set(decode(bytes.subarray(at + 1, equals)), bytes.slice(equals + 1, end - 1));
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
      case "GNU.sparse.offset":
      case "GNU.sparse.numbytes":
        this.#sparsePair(key, value);
        break;
      default:
        if (key.startsWith(XATTR_PREFIX)) {
          this.#xattr(attributeName(key.slice(XATTR_PREFIX.length)), value);
        } else if (key.startsWith("GNU.sparse.")) {
          this.sparse ??= new Map();
          this.sparse.set(key.slice("GNU.sparse.".length), decode(value));
        }
    }
  }

  #xattr(key: string, value: Uint8Array<ArrayBuffer>): void {
    if (key.includes("\0") || key === "") {
      throw new RangeError("the name of an extended attribute is empty or holds a NUL byte");
    }
    this.xattrs.push([key, value]);
  }

  #sparsePair(key: string, value: Uint8Array<ArrayBuffer>): void {
    const isOffset = key.endsWith("offset");
    if (isOffset !== (this.sparsePairs.length % 2 === 0)) {
      throw new RangeError("GNU.sparse.offset and GNU.sparse.numbytes do not alternate");
    }
    this.sparsePairs.push(integer(key, value) ?? NaN);
  }
}

/** An attribute's name from a key, where GNU tar writes `=`, which would end the key, as `%3D`, and `%` as `%25`. */
function attributeName(text: string): string {
  return text.replace(/%3D|%25/g, (escaped) => escaped === "%25" ? "%" : "=");
}

function name(key: string, value: Uint8Array): Uint8Array | undefined {
  if (value.includes(0)) throw new RangeError(`the pax ${key} holds a NUL byte`);
  return value.length === 0 ? undefined : value;
}

/** A decimal number; an empty value takes the record back. */
function integer(key: string, value: Uint8Array): number | undefined {
  if (value.length === 0) return undefined;
  const text = decode(value);
  const result = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(result)) {
    throw new RangeError(`the pax ${key} ${JSON.stringify(text.slice(0, 40))} is no whole number`);
  }
  return result;
}

/** Seconds with an optional fraction; what is finer than a nanosecond is cut off, towards the past. */
function timestamp(key: string, value: Uint8Array): Timestamp | undefined {
  if (value.length === 0) return undefined;
  const text = decode(value);
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match) {
    throw new RangeError(`the pax ${key} ${JSON.stringify(text.slice(0, 40))} is no time`);
  }
  const [, sign, whole, fraction = ""] = match;
  const seconds = Number(whole), nanos = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign === "") return [seconds, nanos];
  return nanos === 0 ? [-seconds, 0] : [-seconds - 1, 1_000_000_000 - nanos];
}
