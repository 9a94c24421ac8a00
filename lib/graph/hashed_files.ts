/**
 * The files in a record of content, to add their hashes to it. The record is read from its file, so
 * that the memory use does not depend on its size.
 *
 * @module
 */
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { decode } from "../../ffi/cstring.ts";
import {
  close,
  O_DIRECTORY,
  O_PATH,
  pread,
  RESOLVE_INSIDE,
  RESOLVE_NO_XDEV,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import { tryOpenToRead } from "../../ffi/quiet_open.ts";
import { fstat } from "../../ffi/stat.ts";
import { ENTRY_LENGTH, LINE, MAGIC } from "./content_format.ts";

/** The room for a line of any kind, in bytes. */
const LINE_ROOM = (64 << 10) + ENTRY_LENGTH + 2;

const CAPACITY = 4 * LINE_ROOM;

/** A file of the record, and its directory's path from the layer's root. */
export interface NamedFile {
  readonly directory: string;
  readonly name: EntryName;
}

/**
 * Yields the files in a record that this process wrote, which is therefore trusted.
 *
 * @param record the record, open for reading
 * @param length the length of the part to read, in bytes
 */
export function* filesIn(record: number, length: number): Generator<NamedFile> {
  const bytes = new Uint8Array(CAPACITY), view = new DataView(bytes.buffer);
  let at = 0, end = 0, position = MAGIC.length, directory = "";
  for (;;) {
    if (end - at < LINE_ROOM && position < length) {
      bytes.copyWithin(0, at, end);
      end -= at;
      at = 0;
      const most = Math.min(CAPACITY - end, length - position);
      const got = pread(record, bytes.subarray(end), most, BigInt(position));
      position += got;
      end += got;
      if (got === 0) return;
    }
    if (at >= end) return;
    const line = bytes[at];
    if (line === LINE.hidden) {
      at++;
      continue;
    }
    const isShort = line === LINE.directory || line === LINE.copied;
    const start = at + (isShort ? 1 : ENTRY_LENGTH);
    const size = view.getUint16(start, true), text = bytes.slice(start + 2, start + 2 + size);
    at = start + 2 + size;
    if (line === LINE.directory) directory = decode(text);
    else if (line === LINE.file && size > 0) yield { directory, name: entryName(decode(text)) };
  }
}

/** Opens files of one tree. It is fast if files of the same directory follow one another. */
export class TreeFiles implements Disposable {
  #path: string | undefined;
  #directory = -1;

  /** @param root the open root of the tree */
  constructor(readonly root: number) {}

  /** Runs `use` on the open file, if it exists and is a regular file. */
  with({ directory, name }: NamedFile, use: (fd: number) => void): void {
    if (directory !== this.#path) {
      this[Symbol.dispose]();
      const flags = O_PATH | O_DIRECTORY, resolve = RESOLVE_INSIDE | RESOLVE_NO_XDEV;
      this.#directory = tryOpenat2(this.root, directory || ".", flags, resolve);
      this.#path = directory;
    }
    if (this.#directory < 0) return;
    const fd = tryOpenToRead(this.#directory, name);
    if (fd < 0) return;
    withFd(fd, () => {
      if (fstat(fd).isFile) use(fd);
    });
  }

  [Symbol.dispose](): void {
    if (this.#directory >= 0) close(this.#directory);
    this.#directory = -1;
    this.#path = undefined;
  }
}
