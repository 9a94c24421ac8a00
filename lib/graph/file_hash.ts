/**
 * Hashes of files' contents: XXH3 if the host has its library, otherwise SHA-256.
 *
 * XXH3 finds errors of disks and memory. It does not protect against intentional changes.
 *
 * @module
 */
import type { Hash } from "node:crypto";
import { read } from "../../ffi/files.ts";
import { Xxh3 } from "../../ffi/xxhash.ts";

/** The kinds of hashes, by their numbers in records. */
export const HASHES = { xxh3: 1, sha256: 2 } as const;
export type HashName = keyof typeof HASHES;

/** The length of each kind, in bytes. */
export const HASH_LENGTHS: Readonly<Record<HashName, number>> = { xxh3: 8, sha256: 32 };

/** The bytes that are read at a time: most files are smaller. */
const PIECE = 256 << 10;

/** Hashes one file after another. The caller disposes of it. */
export abstract class FileHash implements Disposable {
  readonly #buffer = new Uint8Array(PIECE);

  protected constructor(readonly name: HashName) {}

  /**
   * Opens the fastest kind of this host, or the one with a name.
   *
   * @returns `undefined` if the name is XXH3 and the host does not have its library
   */
  static open(): FileHash;
  static open(name: HashName): FileHash | undefined;
  static open(name?: HashName): FileHash | undefined {
    const xxh3 = name === "sha256" ? undefined : Xxh3.open();
    if (xxh3 !== undefined) return new Xxh3Hash(xxh3);
    return name === "xxh3" ? undefined : new Sha256Hash();
  }

  /** The hash of an open file from its position to its end. */
  ofFile(fd: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer;
    let length = 0;
    for (let got; (got = read(fd, buffer.subarray(length))) > 0;) {
      length += got;
      if (length === PIECE) return this.#rest(fd);
    }
    return this.ofBytes(buffer.subarray(0, length));
  }

  /** The hash of a file that is larger than the buffer, which holds its first bytes. */
  #rest(fd: number): Uint8Array<ArrayBuffer> {
    const buffer = this.#buffer;
    this.begin(buffer);
    for (let got; (got = read(fd, buffer)) > 0;) this.add(buffer.subarray(0, got));
    return this.end();
  }

  protected abstract ofBytes(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>;
  protected abstract begin(bytes: Uint8Array<ArrayBuffer>): void;
  protected abstract add(bytes: Uint8Array<ArrayBuffer>): void;
  protected abstract end(): Uint8Array<ArrayBuffer>;

  [Symbol.dispose](): void {}
}

class Xxh3Hash extends FileHash {
  readonly #xxh3: Xxh3;

  constructor(xxh3: Xxh3) {
    super("xxh3");
    this.#xxh3 = xxh3;
  }

  protected ofBytes(bytes: Uint8Array<ArrayBuffer>) {
    return bytesOf(this.#xxh3.of(bytes));
  }

  protected begin(bytes: Uint8Array<ArrayBuffer>): void {
    this.#xxh3.reset();
    this.#xxh3.update(bytes);
  }

  protected add(bytes: Uint8Array<ArrayBuffer>): void {
    this.#xxh3.update(bytes);
  }

  protected end() {
    return bytesOf(this.#xxh3.digest());
  }

  override [Symbol.dispose](): void {
    this.#xxh3[Symbol.dispose]();
  }
}

class Sha256Hash extends FileHash {
  readonly #create = process.getBuiltinModule("node:crypto").createHash;
  #hash: Hash | undefined;

  constructor() {
    super("sha256");
  }

  protected ofBytes(bytes: Uint8Array<ArrayBuffer>) {
    return new Uint8Array(this.#create("sha256").update(bytes).digest());
  }

  protected begin(bytes: Uint8Array<ArrayBuffer>): void {
    this.#hash = this.#create("sha256").update(bytes);
  }

  protected add(bytes: Uint8Array<ArrayBuffer>): void {
    this.#hash!.update(bytes);
  }

  protected end() {
    return new Uint8Array(this.#hash!.digest());
  }
}

/** The bytes of a number in records. */
function bytesOf(hash: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HASH_LENGTHS.xxh3);
  new DataView(bytes.buffer).setBigUint64(0, hash, true);
  return bytes;
}
