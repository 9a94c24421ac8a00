/**
 * Makes a layer's tar again, byte for byte, from its record and the files in its tree.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import {
  close,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  pread,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  tryOpenat2,
} from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../base/errors.ts";
import { escapePath } from "../base/printable.ts";
import { crc32 } from "node:zlib";
import { readRecord } from "./tar_record.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The bytes of a file that are read at a time. */
const PIECE = 256 << 10;

/** Compares the content of a file with its recorded checksum. */
export interface ContentCheck {
  update(bytes: Bytes): void;
  agrees(): boolean;
}

/** A file whose content the layer keeps. */
interface KeptFile {
  /** The path from the layer's root. */
  readonly path: Bytes;
  readonly size: number;
  /** `undefined` if nothing is compared. */
  readonly newCheck: (() => ContentCheck) | undefined;
}

/** A part of a layer's tar in its record. */
export type RebuildPart = { readonly raw: Bytes } | KeptFile;

/** The parts of one of Veneer's own records. */
export function* partsOf(
  record: { readonly fd: number; readonly path: string },
): Generator<RebuildPart> {
  for (const part of readRecord(record.fd, record.path)) {
    if ("raw" in part) yield part;
    else yield { ...part, newCheck: () => new Crc32Check(part.sum) };
  }
}

class Crc32Check implements ContentCheck {
  #found = 0;

  constructor(readonly sum: number) {}

  update(bytes: Bytes): void {
    this.#found = crc32(bytes, this.#found);
  }

  agrees(): boolean {
    return this.#found === this.sum;
  }
}

/**
 * The bytes of a tar in pieces. The caller may keep each piece.
 *
 * @param root the open root of the tree with the layer's files
 * @throws {VeneerError} `corrupt store` with the first file that has changed since its import
 */
export function* rebuilt(parts: Iterable<RebuildPart>, root: number): Generator<Bytes> {
  for (const part of parts) {
    if ("raw" in part) yield part.raw;
    else yield* content(part, root);
  }
}

function* content({ path, size, newCheck }: KeptFile, root: number): Generator<Bytes> {
  const changed = (reason: string) =>
    new VeneerError(
      "corrupt store",
      `/${escapePath(decode(path).replace(/^(?:\.?\/)+/, ""))} ${reason}`,
    );
  if (path.includes(0)) throw changed("is not a path");
  const flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW;
  const fd = tryOpenat2(root, decode(path), flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (fd < 0) throw changed("is missing");
  try {
    const stat = fstat(fd);
    if (!stat.isFile) throw changed("is not a file any more");
    if (stat.size !== size) throw changed(`has ${stat.size} bytes, and had ${size}`);
    const check = newCheck?.();
    for (let at = 0; at < size;) {
      const piece = new Uint8Array(Math.min(PIECE, size - at));
      const got = pread(fd, piece, piece.length, BigInt(at));
      if (got === 0) throw changed("was cut short");
      const bytes = piece.subarray(0, got);
      check?.update(bytes);
      at += got;
      yield bytes;
    }
    if (check?.agrees() === false) throw changed("has other content than it had");
  } finally {
    close(fd);
  }
}
