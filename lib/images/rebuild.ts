/**
 * Making a layer's very tar again, of its record and of the files in its tree.
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

/** How much of a file is read at a time, in bytes. */
const PIECE = 256 << 10;

/**
 * The bytes of a tar, piece by piece; each is the caller's own.
 *
 * @param record open, and its path for messages
 * @param root the tree that the layer shows, open
 * @throws {VeneerError} `corrupt store` with the first file that is not as it came
 */
export function* rebuilt(
  record: { readonly fd: number; readonly path: string },
  root: number,
): Generator<Bytes> {
  for (const part of readRecord(record.fd, record.path)) {
    if ("raw" in part) yield part.raw;
    else yield* content(part, root);
  }
}

function* content(
  { path, size, sum }: { path: Bytes; size: number; sum: number },
  root: number,
): Generator<Bytes> {
  const changed = (reason: string) =>
    new VeneerError("corrupt store", `/${escapePath(decode(path))} ${reason}`);
  if (path.includes(0)) throw changed("is not a path");
  const flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW;
  const fd = tryOpenat2(root, decode(path), flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (fd < 0) throw changed("is missing");
  try {
    const stat = fstat(fd);
    if (!stat.isFile) throw changed("is not a file any more");
    if (stat.size !== size) throw changed(`has ${stat.size} bytes, and had ${size}`);
    let found = 0;
    for (let at = 0; at < size;) {
      const piece = new Uint8Array(Math.min(PIECE, size - at));
      const got = pread(fd, piece, piece.length, BigInt(at));
      if (got === 0) throw changed("was cut short");
      const bytes = piece.subarray(0, got);
      found = crc32(bytes, found);
      at += got;
      yield bytes;
    }
    if (found !== sum) throw changed("has other content than it had");
  } finally {
    close(fd);
  }
}
