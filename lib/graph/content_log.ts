/**
 * Writes the record of the files that an apply makes in a layer, in the pass of the apply. A record
 * that was not finished is removed; one that a killed process left is replaced by the next.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import {
  close,
  fsync,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { Times, tryFutimens } from "../../ffi/names.ts";
import type { Stat } from "../../ffi/stat.ts";
import { CONTENT, contentRecord } from "../store/content_records.ts";
import type { Home } from "../store/home.ts";
import { TEMPORARY_SUFFIX } from "../store/metadata.ts";
import { DIRECTORY, HARD_LINK, REGULAR, SYMBOLIC_LINK } from "../tar/header.ts";
import type { EntryLog } from "../tar/apply/entry_log.ts";
import type { Entry } from "../tar/read/entry.ts";
import { type ConfinedPath, makeDirectory, open, rename, tryUnlink } from "../tree/confined.ts";
import { ACL_ACCESS } from "../tree/xattr_names.ts";
import { FileHash, HASHES } from "./file_hash.ts";
import { filesIn, TreeFiles } from "./hashed_files.ts";
import { ENTRY_LENGTH, LINE, MAGIC, NO_MODE } from "./content_format.ts";

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
  #length = 0;
  #isEnded = false;
  #written = 0;

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
    const isListed = entry.xattrs.length > 0 && entry.xattrs.some(([key]) => key === ACL_ACCESS);
    const { fileSize: size, seconds, nanos } = entry, mode = isListed ? NO_MODE : entry.mode;
    this.#entry(lineOf(entry.type), { mode, uid, gid, size, seconds, nanos });
    // The layer's root has no name of its own.
    if (entry.pathLength === 0) this.#text(new Uint8Array());
    else this.#name(entry.name);
  }

  /** Adds an entry of the layer in its present state. */
  found(directory: string, name: EntryName, stat: Stat): void {
    this.#enter(directory);
    const { uid, gid, size, seconds, nanos } = stat;
    this.#entry(lineOfFound(stat), { mode: stat.mode & 0o7777, uid, gid, size, seconds, nanos });
    this.#name(name);
  }

  #entry(line: number, { mode, uid, gid, size, seconds, nanos }: Recorded): void {
    const view = this.#view, at = this.#at;
    this.#bytes[at] = line;
    view.setUint16(at + 1, mode, true);
    view.setUint32(at + 3, uid, true);
    view.setUint32(at + 7, gid, true);
    view.setFloat64(at + 11, size, true);
    view.setFloat64(at + 19, seconds, true);
    view.setUint32(at + 27, nanos, true);
    this.#at = at + ENTRY_LENGTH;
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
    this.#written += this.#at;
    this.#at = 0;
  }

  ended(length: number): void {
    this.#length = length;
    this.#isEnded = true;
  }

  /** Whether an apply was recorded to its end. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Adds the hashes of the files, and the digest of the plain tar if known.
   *
   * @param root the layer's directory, open for reading
   */
  addSums(root: number, diffId: string | undefined): void {
    using hash = FileHash.open();
    this.addHashes(root, hash);
    if (diffId !== undefined) this.addDiffId(diffId);
  }

  /**
   * Adds the hashes of the present files in the layer.
   *
   * @param root the layer's directory, open for reading
   * @param hash computes the hashes
   */
  addHashes(root: number, hash: FileHash): void {
    this.#flush();
    const length = this.#written;
    this.#bytes[this.#at++] = LINE.hashes;
    this.#bytes[this.#at++] = HASHES[hash.name];
    this.#directory = undefined;
    using tree = new TreeFiles(root);
    withFd(open(this.#temporary, O_RDONLY), (record) => {
      for (const file of filesIn(record, length)) {
        tree.with(file, (fd) => {
          const sum = hash.ofFile(fd);
          this.#enter(file.directory);
          this.#bytes[this.#at++] = LINE.hash;
          this.#name(file.name);
          this.#bytes.set(sum, this.#at);
          this.#at += sum.length;
        });
      }
    });
  }

  /** Adds the digest of the plain tar. */
  addDiffId(digest: string): void {
    if (this.#at + ROOM > CAPACITY) this.#flush();
    this.#bytes[this.#at++] = LINE.diffId;
    this.#text(encode(digest));
  }

  #end(): void {
    if (this.#at + ROOM > CAPACITY) this.#flush();
    this.#bytes[this.#at] = LINE.end;
    this.#view.setFloat64(this.#at + 1, this.#length, true);
    this.#at += 9;
    const sum = this.#crc32(this.#bytes.subarray(0, this.#at), this.#sum);
    this.#view.setUint32(this.#at, sum, true);
    this.#at += 4;
    this.#flush();
  }

  /**
   * Puts the record in place; it is on disk when this returns.
   *
   * @param path another place than that of the layer that the record was begun for
   */
  finish(path: ConfinedPath = this.#path): void {
    this.#end();
    setPresent(this.#fd!);
    fsync(this.#fd!, this.#temporary.text);
    rename(this.#temporary, path);
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

/**
 * Sets a file's time to the present. The kernel's own time of a write may be some milliseconds old,
 * and a record must not be older than its layer.
 */
function setPresent(fd: number): void {
  const now = Date.now() + 1, seconds = Math.floor(now / 1000), nanos = (now % 1000) * 1e6;
  tryFutimens(fd, new Times().set(seconds, nanos, seconds, nanos));
}

/** The facts about an entry in its line. */
type Recorded = Pick<Stat, "mode" | "uid" | "gid" | "size" | "seconds" | "nanos">;

const lineOfFound = ({ isFile, isDirectory, isSymlink }: Stat) =>
  isFile ? LINE.file : isDirectory ? LINE.subdirectory : isSymlink ? LINE.link : LINE.node;

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
