/**
 * The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), for messages that
 * contain texts, integers and other messages.
 *
 * A library would read descriptions of messages at each start, which takes longer than this
 * program's whole start.
 *
 * @module
 */
import { asciiText } from "../../ffi/cstring.ts";
import { VeneerError } from "../base/errors.ts";
import type { Bytes } from "./bytes.ts";

const VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The length in UTF-16 units, or in octets, below which a string is written and read octet by octet,
 * which is faster for short strings.
 */
const SHORT = 100;

/** Writes a message. Like in proto3, a field with its type's default value is left out. */
export class MessageWriter {
  #bytes = new Uint8Array(1024);
  #length = 0;

  /** The number of bytes written. */
  get length(): number {
    return this.#length;
  }

  /** Returns the bytes written, and empties the writer. */
  finish(): Bytes {
    const message = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return message;
  }

  string(field: number, value: string): this {
    return value === "" ? this : this.stringAlways(field, value);
  }

  /** Writes an element of a repeated field, even if it is empty. */
  stringAlways(field: number, value: string): this {
    const start = this.#length;
    if (value.length < SHORT && this.#ascii(field, value)) return this;
    this.#length = start;
    const bytes = encoder.encode(value);
    this.#varint(field << 3 | LENGTH);
    this.#varint(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /**
   * Writes a short string of ASCII characters. For any other string it returns false, after it has
   * written a part.
   */
  #ascii(field: number, value: string): boolean {
    this.#varint(field << 3 | LENGTH);
    this.#reserve(1 + SHORT);
    this.#bytes[this.#length++] = value.length;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) return false;
      this.#bytes[this.#length++] = code;
    }
    return true;
  }

  /** Writes an embedded message, whose fields `write` writes. */
  message(field: number, write: () => void): this {
    this.#varint(field << 3 | LENGTH);
    this.#reserve(1);
    // Most lengths take one byte. For a longer one the written fields are moved.
    const start = ++this.#length;
    write();
    const length = this.#length - start;
    if (length >= 0x80) {
      const more = Math.ceil((32 - Math.clz32(length)) / 7) - 1;
      this.#reserve(more);
      this.#bytes.copyWithin(start + more, start, start + length);
    }
    this.#length = start - 1;
    this.#put(length);
    this.#length += length;
    return this;
  }

  /** Writes fields that another writer has written. */
  copy(fields: Uint8Array): this {
    this.#reserve(fields.length);
    this.#bytes.set(fields, this.#length);
    this.#length += fields.length;
    return this;
  }

  /** Writes an integer from 0 to 2^53 - 1. */
  integer(field: number, value: number): this {
    if (value === 0) return this;
    this.#varint(field << 3 | VARINT);
    this.#varint(value);
    return this;
  }

  /** Writes a map's entries, each as a message with a key (1) and a value (2). */
  map(field: number, entries: Iterable<readonly [string, string]>): this {
    for (const [key, value] of entries) {
      this.message(field, () => this.string(1, key).string(2, value));
    }
    return this;
  }

  /** Writes an integer of up to 53 bits. */
  #varint(value: number): void {
    this.#reserve(8);
    this.#put(value);
  }

  /** The same, if the buffer has room. */
  #put(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.#bytes[this.#length++] = rest % 0x80 | 0x80;
    }
    this.#bytes[this.#length++] = rest;
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + length));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** A field of a message. */
export interface WireField {
  readonly number: number;
  /** The value of a length-delimited field. */
  readonly bytes: Bytes;
}

/** The most fields of a message. A list of fields takes many times their bytes in memory. */
const MAX_FIELDS = 10_000;

/**
 * The length-delimited fields of a message, in order; others are skipped. Groups are refused, so
 * that there is no nesting; no known message has them.
 *
 * @throws {VeneerError} `invalid argument` for an invalid message, `limit exceeded` for a message
 * with too many fields
 */
export function* readFields(message: Bytes): Generator<WireField> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 10; shift++) {
      if (at >= message.length) throw malformed();
      const octet = message[at++];
      value += (octet & 0x7f) * 2 ** (7 * shift);
      if (octet < 0x80) return value;
    }
    throw malformed();
  };
  const take = (length: number): Bytes => {
    if (length > message.length - at) throw malformed();
    return message.subarray(at, at += length);
  };
  for (let count = 1; at < message.length; count++) {
    if (count > MAX_FIELDS) {
      throw new VeneerError(
        "limit exceeded",
        `the request has more than ${MAX_FIELDS} fields in one message; make several requests`,
      );
    }
    const tag = varint(), number = Math.floor(tag / 8);
    if (number === 0 || number >= 2 ** 29) throw malformed();
    switch (tag % 8) {
      case LENGTH:
        yield { number, bytes: take(varint()) };
        break;
      case VARINT:
        varint();
        break;
      case FIXED64:
        take(8);
        break;
      case FIXED32:
        take(4);
        break;
      default:
        throw malformed();
    }
  }
}

/** The text in a field's bytes. @throws {VeneerError} `invalid argument` if it is not UTF-8 */
export function text(bytes: Bytes): string {
  const short = bytes.length < SHORT ? asciiText(bytes) : undefined;
  if (short !== undefined) return short;
  try {
    return decoder.decode(bytes);
  } catch {
    throw new VeneerError("invalid argument", "the request has a text that is not UTF-8");
  }
}

function malformed(): VeneerError {
  return new VeneerError("invalid argument", "the request is not a valid message");
}
