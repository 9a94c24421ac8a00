/**
 * Keeps blobs before they are written out: in one file without a name, on the store's disk.
 *
 * @module
 */
import { close, lseek, pread, SEEK_CUR, writeAll } from "../../ffi/files.ts";
import type { Home } from "../store/home.ts";
import { openUnnamed } from "../tree/unnamed_file.ts";
import { digestOf, newHash } from "./digest.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A blob of a spool. */
export interface SpooledBlob {
  readonly digest: string;
  readonly size: number;
  /** The offset in the spool. */
  readonly offset: number;
}

/** The bytes that are copied at a time. */
const PIECE = 256 << 10;

/**
 * Opens a file without a name in a home's staging directory, for a stream or for blobs. The caller
 * closes it.
 */
export function openStaged(home: Home): number {
  return openUnnamed(home.own("staging"));
}

/** The bytes of a file from its beginning. The caller may keep each piece. */
export function* piecesOf(fd: number): Generator<Bytes> {
  for (let at = 0;;) {
    const piece = new Uint8Array(PIECE), got = pread(fd, piece, PIECE, BigInt(at));
    if (got === 0) return;
    at += got;
    yield piece.subarray(0, got);
  }
}

/** The file of the blobs, one behind the other. */
export class Spool implements Disposable {
  #size = 0;

  /** @param fd an empty file; this object closes it */
  constructor(readonly fd: number) {}

  /** Adds a blob: what `write` writes to the descriptor that it gets. */
  write(write: (fd: number) => void): SpooledBlob {
    const offset = this.#size;
    try {
      write(this.fd);
    } finally {
      // A blob that failed stays, unused.
      this.#size = Number(lseek(this.fd, 0n, SEEK_CUR));
    }
    const hash = newHash("sha256"), size = this.#size - offset;
    this.#read(offset, size, (bytes) => hash.update(bytes));
    return { digest: digestOf("sha256", hash), size, offset };
  }

  add(bytes: Bytes): SpooledBlob {
    return this.write((fd) => writeAll(fd, bytes));
  }

  /** Writes a blob to a descriptor. */
  copy({ offset, size }: SpooledBlob, output: number): void {
    this.#read(offset, size, (bytes) => writeAll(output, bytes));
  }

  #read(offset: number, size: number, take: (bytes: Bytes) => void): void {
    const piece = new Uint8Array(PIECE);
    for (let at = 0; at < size;) {
      const got = pread(this.fd, piece, Math.min(PIECE, size - at), BigInt(offset + at));
      if (got === 0) throw new Error("the file of blobs was cut short");
      take(piece.subarray(0, got));
      at += got;
    }
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}
