/**
 * HPACK (RFC 7541), the compression of header fields in HTTP/2.
 *
 * The decoder keeps the dynamic table that the client fills. The encoder only uses the static table
 * and has no state, because a gRPC server's headers are short.
 *
 * @module
 */
import { decodeHuffman } from "./huffman.ts";

/** A name and a value, with one character for each octet. */
export type Field = readonly [name: string, value: string];

/**
 * The error for an invalid block. The connection must be closed, because the state of the dynamic
 * table is lost.
 */
export class HpackError extends Error {}

/** The initial size of the dynamic table that a client may use (RFC 9113, 6.5.2), in bytes. */
export const TABLE_SIZE = 4096;

/**
 * The bytes that an entry counts in addition to its octets, in the table and in the size of a list
 * (RFC 7541, 4.1).
 */
const ENTRY_OVERHEAD = 32;

/** RFC 7541, appendix A. Index 0 is not used. */
const STATIC: readonly Field[] = [
  ["", ""],
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...[
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
  ].map((name): Field => [name, ""]),
];

/** The fields of a block. */
export interface HeaderList {
  readonly fields: readonly Field[];
  /** Whether the fields exceed the limit. Those beyond it are missing. */
  readonly oversized: boolean;
}

/** A decoded block that is likely to come again: most calls of a client have the same fields. */
interface KnownBlock {
  readonly bytes: Uint8Array;
  readonly list: HeaderList;
}

/** The number of known blocks, and the length of the longest one in bytes. */
const KNOWN_BLOCKS = 8, LONGEST_KNOWN = 512;

/** Decodes the header blocks of one connection, in the order in which they arrive. */
export class HpackDecoder {
  /** The entries of the dynamic table, the newest one last. */
  readonly #entries: Field[] = [];
  #size = 0;
  #capacity = TABLE_SIZE;
  /** Blocks that do not change the table, decoded since its last change; the oldest one first. */
  #known: KnownBlock[] = [];
  /** Whether the current block changes the table. */
  #isChanged = false;

  /**
   * Decodes a complete block. Even a block that is too long is read to its end, because later
   * blocks may refer to the entries that it adds. Equal blocks may have the same list.
   *
   * @param limit the limit of the list's size in bytes, with {@linkcode ENTRY_OVERHEAD} for each
   * field
   * @throws {HpackError}
   */
  decode(block: Uint8Array, limit: number): HeaderList {
    const known = this.#known.find(({ bytes }) => isSame(bytes, block));
    if (known !== undefined) return known.list;
    this.#isChanged = false;
    const list = this.#decode(block, limit);
    const isKept = !this.#isChanged && !list.oversized && block.length <= LONGEST_KNOWN;
    if (isKept) {
      if (this.#known.length === KNOWN_BLOCKS) this.#known.shift();
      this.#known.push({ bytes: block.slice(), list });
    }
    return list;
  }

  /** To be called when the table changes: a known block may now have other fields. */
  #change(): void {
    this.#isChanged = true;
    this.#known = [];
  }

  #decode(block: Uint8Array, limit: number): HeaderList {
    const reader = new BlockReader(block);
    const fields: Field[] = [];
    let size = 0;
    for (let isFirst = true; !reader.isAtEnd;) {
      const first = reader.peek();
      if ((first & 0xe0) === 0x20) {
        if (!isFirst) throw new HpackError("a table size update behind a field");
        this.#resize(reader.integer(5));
        continue;
      }
      isFirst = false;
      const field = this.#field(first, reader);
      size += sizeOf(field);
      if (size <= limit) fields.push(field);
    }
    return { fields, oversized: size > limit };
  }

  #field(first: number, reader: BlockReader): Field {
    if (first & 0x80) return this.#entry(reader.integer(7));
    const isIndexed = (first & 0x40) !== 0;
    const index = reader.integer(isIndexed ? 6 : 4);
    const name = index === 0 ? reader.string() : this.#entry(index)[0];
    const field: Field = [name, reader.string()];
    if (isIndexed) this.#add(field);
    return field;
  }

  #entry(index: number): Field {
    const entry = index < STATIC.length
      ? STATIC[index]
      : this.#entries.at(STATIC.length - 1 - index);
    if (index === 0 || entry === undefined) {
      throw new HpackError(`there is no entry ${index}`);
    }
    return entry;
  }

  #add(field: Field): void {
    this.#change();
    this.#entries.push(field);
    this.#size += sizeOf(field);
    this.#evict();
  }

  #resize(capacity: number): void {
    this.#change();
    if (capacity > TABLE_SIZE) throw new HpackError(`a table of ${capacity} bytes`);
    this.#capacity = capacity;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#capacity) this.#size -= sizeOf(this.#entries.shift()!);
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Reads the integers and strings of a block. */
class BlockReader {
  #at = 0;

  constructor(readonly block: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.#at === this.block.length;
  }

  peek(): number {
    return this.block[this.#at];
  }

  #next(): number {
    if (this.isAtEnd) throw new HpackError("the block is cut short");
    return this.block[this.#at++];
  }

  /** RFC 7541, 5.1. No valid integer in a block needs more than 28 bits. */
  integer(prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = this.#next() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const octet = this.#next();
      value += (octet & 0x7f) << shift;
      if (octet < 0x80) return value;
    }
    throw new HpackError("an integer is too large");
  }

  /** RFC 7541, 5.2. */
  string(): string {
    if (this.isAtEnd) throw new HpackError("the block is cut short");
    const isHuffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    if (length > this.block.length - this.#at) throw new HpackError("a string is cut short");
    const octets = this.block.subarray(this.#at, this.#at += length);
    const text = isHuffman ? decodeHuffman(octets) : latin1(octets);
    if (text === undefined) throw new HpackError("an invalid Huffman code");
    return text;
  }
}

/**
 * Encodes each field: as an index if the static table has its name and value, otherwise as a
 * literal that is not added to a table.
 *
 * The block begins with a table size update to 0. That is required if the client allows a smaller
 * table than the default (RFC 7541, 4.2); otherwise it changes nothing.
 *
 * @param fields with names in lower case, and values of one character for each octet
 */
export function encodeFields(fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const octets: number[] = [0x20];
  for (const [name, value] of fields) {
    const whole = STATIC.findIndex((entry) => entry[0] === name && entry[1] === value);
    if (whole > 0) {
      writeInteger(octets, 0x80, 7, whole);
      continue;
    }
    const named = Math.max(0, STATIC.findIndex((entry) => entry[0] === name));
    writeInteger(octets, 0, 4, named);
    if (named === 0) writeString(octets, name);
    writeString(octets, value);
  }
  return Uint8Array.from(octets);
}

function writeInteger(octets: number[], pattern: number, prefix: number, value: number): void {
  const mask = (1 << prefix) - 1;
  if (value < mask) {
    octets.push(pattern | value);
    return;
  }
  octets.push(pattern | mask);
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) octets.push(rest & 0x7f | 0x80);
  octets.push(rest);
}

function writeString(octets: number[], text: string): void {
  writeInteger(octets, 0, 7, text.length);
  for (let i = 0; i < text.length; i++) octets.push(text.charCodeAt(i));
}

const sizeOf = ([name, value]: Field) => name.length + value.length + ENTRY_OVERHEAD;

function latin1(octets: Uint8Array): string {
  let text = "";
  for (const octet of octets) text += String.fromCharCode(octet);
  return text;
}
