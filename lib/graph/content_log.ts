/**
 * Writes the record of the files that an apply makes in a layer, in the pass of the apply. A record
 * that was not finished is removed; one that a killed process left is replaced by the next.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { close, fsync, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY, writeAll } from "../../ffi/files.ts";
import type { Home } from "../store/home.ts";
import { TEMPORARY_SUFFIX } from "../store/metadata.ts";
import { DIRECTORY, HARD_LINK, REGULAR, SYMBOLIC_LINK } from "../tar/header.ts";
import type { EntryLog } from "../tar/apply/entry_log.ts";
import type { Entry } from "../tar/read/entry.ts";
import { type ConfinedPath, makeDirectory, open, rename, tryUnlink } from "../tree/confined.ts";
import { ACL_ACCESS } from "../tree/xattr_names.ts";
import { CONTENT, contentRecord, ENTRY_LENGTH, LINE, MAGIC, NO_MODE } from "./content_format.ts";

/** How much is gathered before it is written, in bytes. */
const CAPACITY = 256 << 10;

/** More than one line of any kind: a path of 64 KiB, and an entry. */
const ROOM = (64 << 10) + 2 * ENTRY_LENGTH + 2 * 256;

/** The record of one apply. */
export class ContentLog implements EntryLog, Disposable {
  readonly #path: ConfinedPath;
  readonly #temporary: ConfinedPath;
  readonly #bytes = new Uint8Array(CAPACITY);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #crc32: typeof import("node:zlib").crc32;
  #hasWhiteouts = false;
  #at = 0;
  #sum = 0;
  #directory: string | undefined;
  #fd: number | undefined;

  constructor(home: Home, id: string) {
    this.#path = contentRecord(home, id);
    this.#temporary = this.#path.withSuffix(TEMPORARY_SUFFIX);
    // Loaded here, for commands that apply nothing to start without it.
    this.#crc32 = process.getBuiltinModule("node:zlib").crc32;
    makeDirectory(home.own(CONTENT), 0o700);
    tryUnlink(this.#temporary);
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    this.#fd = open(this.#temporary, flags, 0o600);
    this.#bytes.set(encode(MAGIC));
    this.#at = MAGIC.length;
  }

  made(directory: string, entry: Entry, uid: number, gid: number): void {
    this.#enter(directory);
    const view = this.#view, at = this.#at;
    const isListed = entry.xattrs.length > 0 && entry.xattrs.some(([key]) => key === ACL_ACCESS);
    this.#bytes[at] = lineOf(entry.type);
    view.setUint16(at + 1, isListed ? NO_MODE : entry.mode, true);
    view.setUint32(at + 3, uid, true);
    view.setUint32(at + 7, gid, true);
    view.setFloat64(at + 11, entry.fileSize, true);
    view.setFloat64(at + 19, entry.seconds, true);
    view.setUint32(at + 27, entry.nanos, true);
    this.#at = at + ENTRY_LENGTH;
    // The layer's root has no name of its own.
    if (entry.pathLength === 0) this.#text(new Uint8Array());
    else this.#name(entry.name);
  }

  hidden(): void {
    if (this.#hasWhiteouts) return;
    this.#hasWhiteouts = true;
    if (this.#at + ROOM > CAPACITY) this.#flush();
    this.#bytes[this.#at++] = LINE.hidden;
  }

  copied(directory: string, name: EntryName): void {
    this.#enter(directory);
    this.#bytes[this.#at++] = LINE.copied;
    this.#name(name);
  }

  /** Makes room for a line, and writes its directory if that is another than the last line's. */
  #enter(directory: string): void {
    if (this.#at + ROOM > CAPACITY) this.#flush();
    if (directory === this.#directory) return;
    this.#directory = directory;
    this.#bytes[this.#at++] = LINE.directory;
    this.#text(encode(directory));
  }

  #name(name: EntryName): void {
    this.#text(name.subarray(0, -1));
  }

  #text(text: Uint8Array): void {
    this.#view.setUint16(this.#at, text.length, true);
    this.#bytes.set(text, this.#at + 2);
    this.#at += 2 + text.length;
  }

  #flush(): void {
    const part = this.#bytes.subarray(0, this.#at);
    this.#sum = this.#crc32(part, this.#sum);
    writeAll(this.#fd!, part);
    this.#at = 0;
  }

  ended(length: number): void {
    if (this.#at + ROOM > CAPACITY) this.#flush();
    this.#bytes[this.#at] = LINE.end;
    this.#view.setFloat64(this.#at + 1, length, true);
    this.#at += 9;
    const sum = this.#crc32(this.#bytes.subarray(0, this.#at), this.#sum);
    this.#view.setUint32(this.#at, sum, true);
    this.#at += 4;
    this.#flush();
  }

  /** Puts the record, which has its end, in place; it is on disk when this returns. */
  finish(): void {
    fsync(this.#fd!, this.#temporary.text);
    rename(this.#temporary, this.#path);
    this.#close();
  }

  #close(): void {
    close(this.#fd!);
    this.#fd = undefined;
  }

  [Symbol.dispose](): void {
    if (this.#fd === undefined) return;
    this.#close();
    tryUnlink(this.#temporary);
  }
}

function lineOf(type: number): number {
  switch (type) {
    case REGULAR:
      return LINE.file;
    case DIRECTORY:
      return LINE.subdirectory;
    case SYMBOLIC_LINK:
      return LINE.link;
    case HARD_LINK:
      return LINE.hardLink;
    default:
      return LINE.node;
  }
}
