/**
 * The files of an image that is to be read, in a directory or in a tar.
 *
 * @module
 */
import { ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import {
  close,
  O_NONBLOCK,
  O_RDONLY,
  pread,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  tryOpenat2,
} from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { digest, parseDigest } from "./digest.ts";
import { badImage } from "./json.ts";

/** The most bytes of a manifest, an index or a config that are read: 8 MiB. */
export const LARGEST_DOCUMENT = 8 << 20;

/** A file of an image, open until it is disposed of. */
export interface ImageFile extends Disposable {
  readonly fd: number;
  /** The offset of its first byte. */
  readonly offset: number;
  readonly size: number;
}

/** The files of an image. */
export interface ImageSource extends Disposable {
  /** Its name in messages. */
  readonly name: string;
  /**
   * Opens a file; `undefined` if it does not exist.
   *
   * @param path as {@linkcode cleanPath} returns it
   */
  open(path: string): ImageFile | undefined;
}

/** An image in a directory. Links cannot lead out of it. */
export class DirectorySource implements ImageSource {
  /** @param fd the open directory; this object closes it */
  constructor(readonly name: string, readonly fd: number) {}

  open(path: string): ImageFile | undefined {
    const flags = O_RDONLY | O_NONBLOCK;
    const fd = tryOpenat2(this.fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (fd === -ENOENT || fd === -ENOTDIR) return undefined;
    unwrap(fd, "open", `${this.name}/${path}`);
    const { isFile, size } = fstat(fd);
    if (isFile) return { fd, offset: 0, size, [Symbol.dispose]: () => close(fd) };
    close(fd);
    throw badImage(`${this.name}/${path} is not a file`);
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}

/**
 * Returns the clean form of a path in an image that another file of the image names.
 *
 * @param what the name of that file in messages
 * @throws {VeneerError} `invalid argument` if it leads out of the image
 */
export function cleanPath(path: string, what: string): string {
  const kept: string[] = [];
  const refuse = (reason: string) => {
    throw badImage(`${what}: path ${JSON.stringify(path.slice(0, 200))} ${reason}`);
  };
  if (path.startsWith("/")) refuse("is absolute: it leads out of the image");
  if (path.includes("\0") || path.length > 4095) refuse("is not one of a file");
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.pop() === undefined) refuse("leads out of the image");
  }
  if (kept.length === 0) refuse("is not one of a file");
  return kept.join("/");
}

/**
 * Reads a small file.
 *
 * @throws {VeneerError} `invalid argument` if it is missing or larger than
 * {@linkcode LARGEST_DOCUMENT}
 */
export function readDocument(source: ImageSource, path: string): Uint8Array<ArrayBuffer> {
  using file = source.open(path);
  if (file === undefined) throw badImage(`${source.name} has no ${path}`);
  return readAll(file, `${source.name}: ${path}`);
}

function readAll({ fd, offset, size }: ImageFile, what: string): Uint8Array<ArrayBuffer> {
  if (size > LARGEST_DOCUMENT) {
    throw badImage(`${what} has ${size} bytes: at most ${LARGEST_DOCUMENT} (8 MiB) are read`);
  }
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const got = pread(fd, bytes.subarray(at), size - at, BigInt(offset + at));
    if (got === 0) throw badImage(`${what} ends after ${at} of ${size} bytes`);
    at += got;
  }
  return bytes;
}

/** The description of a blob in a manifest or an index. */
export interface Descriptor {
  readonly digest: string;
  readonly size: number;
  /** The blob's name in messages. */
  readonly what: string;
}

/** The path of a blob in an OCI layout. */
export function blobPath(text: string, what: string): string {
  const { algorithm, hex } = parseDigest(text, what);
  return `blobs/${algorithm}/${hex}`;
}

/**
 * Opens a blob and checks its size.
 *
 * @throws {VeneerError} `invalid argument` if it is missing, or of another size
 */
export function openBlob(source: ImageSource, { digest, size, what }: Descriptor): ImageFile {
  const file = source.open(blobPath(digest, what));
  if (file === undefined) throw badImage(`${what} is missing: ${source.name} has no such blob`);
  if (file.size === size) return file;
  file[Symbol.dispose]();
  throw badImage(`${what} has ${file.size} bytes, its descriptor says ${size}`);
}

/** Reads a small blob and checks its digest. @throws as {@linkcode openBlob} */
export function readBlob(source: ImageSource, descriptor: Descriptor): Uint8Array<ArrayBuffer> {
  using file = openBlob(source, descriptor);
  const { what } = descriptor, bytes = readAll(file, what);
  const { algorithm } = parseDigest(descriptor.digest, what);
  const found = digest(bytes, algorithm);
  if (found === descriptor.digest) return bytes;
  throw badImage(`${what} has the content of ${found}: it is damaged`);
}
