/**
 * The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), as far as
 * messages of text, integers and other messages need it.
 *
 * A library reads descriptions of messages at each start, which takes longer than this program's
 * whole start.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { Bytes } from "./bytes.ts";

const VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Writes a message. A field with its type's default value is left out, as proto3 does. */
export class MessageWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** The bytes written. */
  finish(): Bytes {
    return this.#bytes.slice(0, this.#length);
  }

  string(field: number, value: string): this {
    return value === "" ? this : this.stringAlways(field, value);
  }

  /** An element of a repeated field, which is written if it is empty as well. */
  stringAlways(field: number, value: string): this {
    return this.bytes(field, encoder.encode(value));
  }

  /** A string that is encoded, or an embedded message. */
  bytes(field: number, value: Uint8Array): this {
    this.#varint(field << 3 | LENGTH);
    this.#varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  /** An integer of up to 53 bits, at least 0. */
  integer(field: number, value: number): this {
    if (value === 0) return this;
    this.#varint(field << 3 | VARINT);
    this.#varint(value);
    return this;
  }

  /** A map's entries, each a message of a key (1) and a value (2). */
  map(field: number, entries: Iterable<readonly [string, string]>): this {
    for (const [key, value] of entries) {
      this.bytes(field, new MessageWriter().string(1, key).string(2, value).finish());
    }
    return this;
  }

  #varint(value: number): void {
    this.#reserve(8);
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
  /** Of a field of the length-delimited type; empty for any other. */
  readonly bytes: Bytes;
}

/** The most fields of a message: a list of them takes many times their bytes in memory. */
const MAX_FIELDS = 10_000;

/**
 * The length-delimited fields of a message, in order; others are skipped. Groups, which no known
 * message has, are refused, so that nothing nests.
 *
 * @throws {VeneerError} `invalid argument` for an invalid message, `limit exceeded` for one of too
 * many fields
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

/** Text of a field. @throws {VeneerError} `invalid argument` if it is not UTF-8 */
export function text(bytes: Bytes): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new VeneerError("invalid argument", "the request has a text that is not UTF-8");
  }
}

function malformed(): VeneerError {
  return new VeneerError("invalid argument", "the request is not a valid message");
}
