/**
 * Reads the record of a layer's content (`graph/content_format.ts`). Any program that once could
 * write to the store may have written it, so every length is checked before it is used.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { O_NONBLOCK, O_RDONLY, tryRead, withFd } from "../../ffi/files.ts";
import { Stat, tryFstat } from "../../ffi/stat.ts";
import { ENTRY_LENGTH, LINE, MAGIC, NO_MODE } from "../graph/content_format.ts";
import { HASH_LENGTHS, HASHES, type HashName } from "../graph/file_hash.ts";
import { type ConfinedPath, tryOpen } from "../tree/confined.ts";
import { openFault } from "./record_file.ts";

/**
 * The type of an entry. For a hard link only the existence of a file is recorded; `any` stands for
 * an entry of unknown type.
 */
export type RecordedType = "file" | "directory" | "link" | "node" | "hard link" | "any";

/** An entry as the apply made it. */
export interface RecordedEntry {
  readonly type: RecordedType;
  /** Permission bits; `undefined` if they are not recorded. */
  readonly mode: number | undefined;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly seconds: number;
  readonly nanos: number;
  /** Whether mode and owner are known. */
  readonly hasAttributes: boolean;
  /** The hash of a file's content, if known. */
  readonly hash?: Uint8Array;
}

/** The content that a layer had after its apply. */
export interface RecordedContent {
  /** The entries by their paths from the root. */
  readonly entries: Map<string, RecordedEntry>;
  /** The kind of the hashes of files, if there are any. */
  readonly hash: HashName | undefined;
  /** The digest of the plain tar, if known. */
  readonly diffId: string | undefined;
}

/** The reason why there is no content to compare with. */
export type NoContent = "missing" | "invalid" | "future" | "not-a-file";

/** The size of the largest record that is read, in bytes: about ten million files. */
const MOST = 1 << 30;

const TYPES = new Map<number, RecordedType>([
  [LINE.file, "file"],
  [LINE.subdirectory, "directory"],
  [LINE.link, "link"],
  [LINE.node, "node"],
  [LINE.hardLink, "hard link"],
]);

/** The kinds of hashes by their numbers. */
const NAMES = new Map(Object.entries(HASHES).map(([name, n]) => [n as number, name as HashName]));

/** The length of the end in bytes: its letter, the tar's length, the checksum. */
const END = 1 + 8 + 4;

const ANY: RecordedEntry = {
  type: "any",
  mode: undefined,
  uid: 0,
  gid: 0,
  size: 0,
  seconds: 0,
  nanos: 0,
  hasAttributes: false,
};

/** Reads a record. */
export function readContent(path: ConfinedPath): RecordedContent | NoContent {
  const fd = tryOpen(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return openFault(fd).fault === "not-a-file" ? "not-a-file" : "missing";
  return withFd(fd, () => {
    const stat = new Stat();
    if (tryFstat(fd, stat) < 0 || !stat.isFile) return "not-a-file";
    if (stat.size > MOST || stat.size < MAGIC.length + END) return "invalid";
    const bytes = new Uint8Array(stat.size);
    for (let at = 0; at < bytes.length;) {
      const got = tryRead(fd, bytes.subarray(at));
      if (got <= 0) return "invalid";
      at += got;
    }
    return parseContent(bytes);
  });
}

/** Parses the bytes of a record. */
export function parseContent(
  bytes: Uint8Array<ArrayBuffer>,
): RecordedContent | "invalid" | "future" {
  const start = decode(bytes.slice(0, MAGIC.length));
  if (start.slice(0, -1) !== MAGIC.slice(0, -1)) return "invalid";
  if (start !== MAGIC) return /\d$/.test(start) ? "future" : "invalid";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { crc32 } = process.getBuiltinModule("node:zlib");
  const end = bytes.length - 4;
  if (crc32(bytes.subarray(0, end)) !== view.getUint32(end, true)) return "invalid";
  try {
    return new ContentParser(bytes, view).parse();
  } catch (error) {
    if (error instanceof RangeError) return "invalid";
    throw error;
  }
}

class ContentParser {
  readonly #entries = new Map<string, { entry: RecordedEntry; line: number }>();
  /** Paths, and the last line that replaced a directory there with all below it. */
  readonly #emptied = new Map<string, number>();
  #hasWhiteouts = false;
  #at = MAGIC.length;
  #line = 0;
  #directory = "";
  #hash: HashName | undefined;
  readonly #hashes = new Map<string, Uint8Array>();
  #diffId: string | undefined;

  constructor(readonly bytes: Uint8Array<ArrayBuffer>, readonly view: DataView) {}

  /** @throws {RangeError} if a line is invalid, or ends behind the record */
  parse(): RecordedContent {
    for (;; this.#line++) {
      const line = this.bytes[this.#at];
      const type = TYPES.get(line);
      if (type !== undefined) this.#entry(type);
      else if (line === LINE.end && this.#at + END === this.bytes.length) return this.#content();
      else this.#change(line);
    }
  }

  #change(line: number): void {
    this.#at++;
    switch (line) {
      case LINE.directory:
        this.#directory = this.#text();
        return;
      case LINE.hidden:
        this.#hasWhiteouts = true;
        return;
      case LINE.copied: {
        const path = this.#child(this.#text());
        if (!this.#entries.has(path)) this.#set(path, ANY);
        return;
      }
      case LINE.hashes:
        if (this.#hash !== undefined) throw new RangeError("hashes of two kinds");
        this.#hash = NAMES.get(this.bytes[this.#at++]);
        if (this.#hash === undefined) throw new RangeError("hashes of an unknown kind");
        return;
      case LINE.hash: {
        if (this.#hash === undefined) throw new RangeError("a hash without a kind");
        const path = this.#child(this.#text()), start = this.#at;
        this.#at += HASH_LENGTHS[this.#hash];
        if (this.#at > this.bytes.length - END) throw new RangeError("a hash behind the end");
        this.#hashes.set(path, this.bytes.subarray(start, this.#at));
        return;
      }
      case LINE.diffId:
        this.#diffId = this.#text();
        return;
      default:
        throw new RangeError("not a line of a record");
    }
  }

  #entry(type: RecordedType): void {
    const { view } = this, at = this.#at;
    const mode = view.getUint16(at + 1, true);
    const entry = {
      type,
      mode: mode === NO_MODE ? undefined : mode,
      uid: view.getUint32(at + 3, true),
      gid: view.getUint32(at + 7, true),
      size: view.getFloat64(at + 11, true),
      seconds: view.getFloat64(at + 19, true),
      nanos: view.getUint32(at + 27, true),
      hasAttributes: type !== "hard link",
    };
    this.#at = at + ENTRY_LENGTH;
    const path = this.#child(this.#text());
    // If it replaces a directory, the entries below that are gone.
    if (type !== "directory") this.#emptied.set(path, this.#line);
    this.#set(path, entry);
  }

  #set(path: string, entry: RecordedEntry): void {
    this.#entries.set(path, { entry, line: this.#line });
  }

  #child(name: string): string {
    if (this.#directory === "" || name === "") return this.#directory + name;
    return `${this.#directory}/${name}`;
  }

  /** The entries that no later line replaced. */
  #content(): RecordedContent {
    const content = new Map<string, RecordedEntry>();
    const hiding = new Map<string, number>([["", this.#emptied.get("") ?? -1]]);
    for (const [path, { entry, line }] of this.#entries) {
      if (path !== "" && this.#hidingLine(parentOf(path), hiding) > line) continue;
      const isTold = !this.#hasWhiteouts || entry.type !== "directory";
      const told = isTold ? entry : { ...entry, hasAttributes: false };
      const hash = entry.type === "file" ? this.#hashes.get(path) : undefined;
      content.set(path, hash === undefined ? told : { ...told, hash });
    }
    return { entries: content, hash: this.#hash, diffId: this.#diffId };
  }

  /** The last line that replaced a directory or one above it. */
  #hidingLine(directory: string, known: Map<string, number>): number {
    const way: string[] = [];
    let at = directory;
    for (; !known.has(at); at = parentOf(at)) way.push(at);
    let line = known.get(at)!;
    for (const path of way.reverse()) {
      line = Math.max(line, this.#emptied.get(path) ?? -1);
      known.set(path, line);
    }
    return line;
  }

  #text(): string {
    const length = this.view.getUint16(this.#at, true), start = this.#at + 2;
    if (start + length > this.bytes.length - END) throw new RangeError("a text behind the end");
    this.#at = start + length;
    return decode(this.bytes.slice(start, this.#at));
  }
}

/** The path of the parent directory. */
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
