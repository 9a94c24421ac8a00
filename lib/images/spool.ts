/**
 * Blobs that are made before they are written: in one file without a name, on the store's disk.
 *
 * @module
 */
import { close, O_RDWR, O_TMPFILE, pread, tryReopen, withFd, writeAll } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import type { Home } from "../store/home.ts";
import { openDirectory } from "../tree/confined.ts";
import { digestOf, newHash } from "./digest.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A blob of a spool. */
export interface SpooledBlob {
  readonly digest: string;
  readonly size: number;
  /** In the spool. */
  readonly offset: number;
}

/** How much is copied at a time, in bytes. */
const PIECE = 256 << 10;

/** The file of a home's staging directory for a stream or for blobs; the caller closes it. */
export function openStaged(home: Home): number {
  const staging = home.own("staging");
  return withFd(
    openDirectory(staging),
    (directory) => unwrap(tryReopen(directory, O_TMPFILE | O_RDWR, 0o600), "open", staging.text),
  );
}

/** The bytes of a file from its beginning; each piece is the caller's own. */
export function* piecesOf(fd: number): Generator<Bytes> {
  for (let at = 0;;) {
    const piece = new Uint8Array(PIECE), got = pread(fd, piece, PIECE, BigInt(at));
    if (got === 0) return;
    at += got;
    yield piece.subarray(0, got);
  }
}

/** Blobs, one behind the other. */
export class Spool implements Disposable {
  #size = 0;

  /** @param fd of an empty file, which this closes */
  constructor(readonly fd: number) {}

  /** Begins a blob: `put` adds to it, `end` returns it. */
  begin(): { put(bytes: Bytes): void; end(): SpooledBlob } {
    const hash = newHash("sha256"), offset = this.#size;
    return {
      put: (bytes) => {
        hash.update(bytes);
        writeAll(this.fd, bytes);
        this.#size += bytes.length;
      },
      end: () => ({ digest: digestOf("sha256", hash), size: this.#size - offset, offset }),
    };
  }

  add(bytes: Bytes): SpooledBlob {
    const blob = this.begin();
    blob.put(bytes);
    return blob.end();
  }

  /** Writes a blob to a descriptor. */
  copy({ offset, size }: SpooledBlob, output: number): void {
    const piece = new Uint8Array(PIECE);
    for (let at = 0; at < size;) {
      const got = pread(this.fd, piece, Math.min(PIECE, size - at), BigInt(offset + at));
      if (got === 0) throw new Error("the file of blobs was cut short");
      writeAll(output, piece.subarray(0, got));
      at += got;
    }
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}
