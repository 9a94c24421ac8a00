/**
 * The record of a layer's tar: all of its bytes except the content of files.
 *
 * ```text
 * <home>/.veneer/tars/<diff id>
 *
 * file    = { length of a deflated chunk: u32, chunk }        numbers are little-endian
 * chunks  = MAGIC { part }                                    one stream, cut anywhere
 * part    = 0, length: u32, bytes                             as they are in the tar
 *         | 1, length: u16, path, size: f64, CRC-32: u32      the content of a file
 * ```
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { pread, writeAll } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import type { TarParts } from "./tar_splitter.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const MAGIC = new TextEncoder().encode("veneer tar 1\n");
const RAW = 0, FILE = 1;

/** The most bytes of a chunk, which is deflated at a time. */
const CHUNK = 256 << 10;

/** Writes a record to a descriptor. */
export class RecordWriter implements TarParts {
  readonly #fd: number;
  readonly #chunk = new Uint8Array(CHUNK);
  readonly #view = new DataView(this.#chunk.buffer);
  #length = 0;

  constructor(fd: number) {
    this.#fd = fd;
    this.#append(MAGIC);
  }

  raw(bytes: Bytes): void {
    this.#reserve(5);
    this.#view.setUint8(this.#length, RAW);
    this.#view.setUint32(this.#length + 1, bytes.length, true);
    this.#length += 5;
    this.#append(bytes);
  }

  file(path: Bytes, size: number, sum: number): void {
    this.#reserve(3);
    this.#view.setUint8(this.#length, FILE);
    this.#view.setUint16(this.#length + 1, path.length, true);
    this.#length += 3;
    this.#append(path);
    this.#reserve(12);
    this.#view.setFloat64(this.#length, size, true);
    this.#view.setUint32(this.#length + 8, sum, true);
    this.#length += 12;
  }

  /** Writes the bytes that are left. */
  end(): void {
    this.#flush();
  }

  #append(bytes: Bytes): void {
    for (let rest = bytes; rest.length > 0;) {
      this.#reserve(1);
      const part = rest.subarray(0, CHUNK - this.#length);
      this.#chunk.set(part, this.#length);
      this.#length += part.length;
      rest = rest.subarray(part.length);
    }
  }

  #reserve(bytes: number): void {
    if (CHUNK - this.#length < bytes) this.#flush();
  }

  #flush(): void {
    if (this.#length === 0) return;
    const packed = deflateRawSync(this.#chunk.subarray(0, this.#length), { level: 4 });
    const framed = new Uint8Array(4 + packed.length);
    new DataView(framed.buffer).setUint32(0, packed.length, true);
    framed.set(packed, 4);
    writeAll(this.#fd, framed);
    this.#length = 0;
  }
}

/** A part of a tar in its record. */
export type TarPart =
  | { readonly raw: Bytes }
  | { readonly path: Bytes; readonly size: number; readonly sum: number };

/**
 * The parts of a recorded tar, in their order.
 *
 * @param fd the open record
 * @param what its path in messages
 * @throws {VeneerError} `corrupt store`
 */
export function* readRecord(fd: number, what: string): Generator<TarPart> {
  const stream = new ChunkReader(fd, what);
  if (Buffer.compare(stream.take(MAGIC.length), MAGIC) !== 0) throw damaged(what);
  while (!stream.isAtEnd) {
    const kind = stream.take(1)[0];
    if (kind === RAW) {
      for (let left = stream.u32(); left > 0;) {
        const raw = stream.take(Math.min(left, CHUNK));
        left -= raw.length;
        yield { raw };
      }
    } else if (kind === FILE) {
      const path = stream.take(stream.u16());
      yield { path, size: stream.f64(), sum: stream.u32() };
    } else throw damaged(what);
  }
}

const damaged = (what: string) =>
  new VeneerError("corrupt store", `${what} is damaged: it is not the record of a layer's tar`);

/** Reads the stream from its chunks. */
class ChunkReader {
  #at = 0n;
  #chunk: Bytes = new Uint8Array();

  constructor(readonly fd: number, readonly what: string) {}

  get isAtEnd(): boolean {
    return this.#chunk.length === 0 && !this.#next();
  }

  /** Returns a copy of the next `count` bytes. */
  take(count: number): Bytes {
    const taken = new Uint8Array(count);
    for (let done = 0; done < count;) {
      if (this.isAtEnd) throw damaged(this.what);
      const part = this.#chunk.subarray(0, count - done);
      taken.set(part, done);
      done += part.length;
      this.#chunk = this.#chunk.subarray(part.length);
    }
    return taken;
  }

  u16(): number {
    return this.#view(2).getUint16(0, true);
  }

  u32(): number {
    return this.#view(4).getUint32(0, true);
  }

  f64(): number {
    return this.#view(8).getFloat64(0, true);
  }

  #view(bytes: number): DataView {
    return new DataView(this.take(bytes).buffer);
  }

  #next(): boolean {
    const head = this.#read(4, true);
    if (head === undefined) return false;
    const length = new DataView(head.buffer).getUint32(0, true);
    if (length === 0 || length > 2 * CHUNK) throw damaged(this.what);
    const packed = this.#read(length, false)!;
    try {
      this.#chunk = new Uint8Array(inflateRawSync(packed, { maxOutputLength: CHUNK }));
    } catch {
      throw damaged(this.what);
    }
    return true;
  }

  #read(count: number, mayEnd: boolean): Bytes | undefined {
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count;) {
      const got = pread(this.fd, bytes.subarray(done), count - done, this.#at);
      if (got === 0) {
        if (mayEnd && done === 0) return undefined;
        throw damaged(this.what);
      }
      done += got;
      this.#at += BigInt(got);
    }
    return bytes;
  }
}
