/**
 * Reads a tar entry by entry from a {@linkcode Window}: ustar, GNU, pax, star and V7 headers, long
 * names, sparse files. Everything an entry claims is checked here or marked as the tar's fault by a
 * `badTar` error; nothing is trusted to be small.
 *
 * @module
 */
import { decode, SLASH } from "../../../ffi/cstring.ts";
import type { VeneerError } from "../../base/errors.ts";
import { badTar } from "./bad_tar.ts";
import { Entry } from "./entry.ts";
import {
  BLOCK,
  BLOCK_DEVICE,
  CHARACTER_DEVICE,
  checksumAgrees,
  CONTIGUOUS,
  dialect,
  DIRECTORY,
  type Field,
  FIFO,
  GID,
  GNU_LONG_LINK,
  GNU_LONG_NAME,
  GNU_SPARSE,
  HARD_LINK,
  isZeroBlock,
  LINK_NAME,
  MAJOR,
  MINOR,
  MODE,
  MTIME,
  NAME,
  number,
  padding,
  PAX,
  PAX_GLOBAL,
  PAX_SOLARIS,
  PREFIX,
  prefixField,
  REGULAR,
  REGULAR_V7,
  seconds,
  SIZE,
  SYMBOLIC_LINK,
  textLength,
  TYPE,
  UID,
} from "../header.ts";
import { linkTarget, PathError } from "./layer_path.ts";
import { Extensions, type SparseRecords } from "./pax.ts";
import { checkSparseMap, readOldGnuMap, readPaxMap } from "./sparse.ts";
import type { Window } from "./window.ts";

/**
 * The most that the extension headers of one entry may hold, in bytes: names, attributes, sparse
 * maps.
 */
export const LARGEST_EXTENSION = 1 << 20;

/** (uid_t)-1 stands for "no id". */
const NO_ID = 0xffff_ffff;

/** A reader of one tar. */
export class TarReader {
  /** The current entry, which {@linkcode next} fills. */
  readonly entry = new Entry();
  /** The window at the entry's data, to be consumed from here. */
  readonly window: Window;

  /** The end of the current entry's data and padding. */
  #end: number;
  /** The name as the tar writes it. */
  readonly #raw = new Uint8Array(PREFIX_AND_NAME);
  #rawLength = 0;
  readonly #header = new Uint8Array(BLOCK);
  #extensions: Extensions | undefined;
  #longName: Uint8Array | undefined;
  #longLink: Uint8Array | undefined;

  readonly #unmarkedEnd: (offset: number) => void;

  /**
   * @param unmarkedEnd called with the offset of the end if the tar ends behind an entry, without
   * its end-of-archive marker: it may have been cut short there. Throws (the default) unless the
   * caller knows that it is complete
   */
  constructor(window: Window, unmarkedEnd = refuseUnmarkedEnd) {
    this.window = window;
    this.#unmarkedEnd = unmarkedEnd;
    this.#end = window.position;
  }

  /** Makes the entry that starts at `offset` of a regular file's tar the next one. */
  seek(offset: number): void {
    this.window.seek(offset);
    this.#end = offset;
  }

  /**
   * Reads on to the next entry; false at the end of the archive.
   *
   * @throws {VeneerError} `invalid argument`, naming the offset, if the tar is damaged
   */
  next(): boolean {
    const { window } = this;
    if (!window.skip(this.#end - window.position)) throw cutShort(window.position);
    const start = this.entry.offset = window.position;
    this.#rawLength = 0;
    this.#extensions = this.#longName = this.#longLink = undefined;
    let extensionBytes = 0;
    for (;;) {
      const offset = window.position;
      if (!this.#block(offset, start)) return false;
      const { bytes, at } = window;
      const type = bytes[at + TYPE];
      if (!isExtension(type)) {
        this.#guarded(offset, () => this.#decode(type));
        return true;
      }
      const size = this.#size(bytes, at, offset);
      extensionBytes += size;
      if (extensionBytes > LARGEST_EXTENSION) {
        throw badTar(offset, `an extended header of ${size} bytes: at most 1 MiB is read`);
      }
      window.take(BLOCK);
      this.#guarded(offset, () => this.#extend(type, this.#body(size)));
    }
  }

  /** Makes the header block available and checks it; false at the end of the archive. */
  #block(offset: number, start: number): boolean {
    const { window } = this;
    if (!window.fill(BLOCK)) {
      if (window.at !== window.end || offset !== start || !window.reachesPosition()) {
        throw cutShort(offset);
      }
      this.#unmarkedEnd(offset);
      return false;
    }
    if (window.bytes[window.at] === 0 && isZeroBlock(window.bytes, window.at)) {
      if (offset !== start) throw badTar(offset, "no entry follows an extended header");
      this.#endOfArchive(offset);
      return false;
    }
    if (!checksumAgrees(window.bytes, window.at)) {
      throw badTar(
        offset,
        "the header's checksum is wrong: the tar is damaged, or the input is not a tar",
      );
    }
    return true;
  }

  /** The marker is two zero blocks; some writers end after one. */
  #endOfArchive(offset: number): void {
    const { window } = this;
    window.take(BLOCK);
    if (!window.fill(BLOCK)) return;
    if (!isZeroBlock(window.bytes, window.at)) {
      throw badTar(offset, "a lone zero block stands between entries: the tar is damaged");
    }
    this.#end = window.position;
  }

  /** Turns the complaints of parsers (RangeError) into errors that name the place. */
  #guarded(offset: number, parse: () => void): void {
    try {
      parse();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw badTar(offset, error.message, this.#nameForMessages());
    }
  }

  /**
   * The name if the header's own fields do not count. Sparse formats 0.1 and 1.0 make one up for
   * those.
   */
  #longNameOf(): Uint8Array | undefined {
    return this.#extensions?.sparse?.name ?? this.#extensions?.path ?? this.#longName;
  }

  #nameForMessages(): string | undefined {
    const long = this.#longNameOf();
    if (long !== undefined) return decode(long);
    return this.#rawLength === 0 ? undefined : decode(this.#raw.subarray(0, this.#rawLength));
  }

  #size(bytes: Uint8Array, at: number, offset: number): number {
    const size = number(bytes, at + SIZE[0], SIZE[1]);
    if (!(size >= 0)) throw badTar(offset, "the size of its data is not a number from 0 to 2^53");
    return size;
  }

  /** The data of an extension header (a copy), and its padding skipped. */
  #body(size: number): Uint8Array<ArrayBuffer> {
    const { window } = this;
    const body = new Uint8Array(size);
    for (let done = 0; done < size;) {
      if (!window.fill(1)) throw cutShort(window.position);
      const part = Math.min(size - done, window.end - window.at);
      body.set(window.bytes.subarray(window.at, window.at + part), done);
      window.take(part);
      done += part;
    }
    if (!window.skip(padding(size))) throw cutShort(window.position);
    return body;
  }

  #extend(type: number, body: Uint8Array<ArrayBuffer>): void {
    switch (type) {
      case GNU_LONG_NAME:
        this.#longName = untilNul(body);
        break;
      case GNU_LONG_LINK:
        this.#longLink = untilNul(body);
        break;
      case PAX_GLOBAL:
        // Attributes of the archive as a whole (git's commit, say). They are ignored, as by other
        // readers of layers, since a digest must mean one tree.
        break;
      default:
        (this.#extensions ??= new Extensions()).parse(body);
    }
  }

  #decode(type: number): void {
    const { entry, window } = this;
    const { bytes, at } = window;
    const extensions = this.#extensions;
    const endsInSlash = this.#decodeName(bytes, at);
    if (type === REGULAR_V7) entry.type = endsInSlash ? DIRECTORY : REGULAR;
    else entry.type = type === CONTIGUOUS ? REGULAR : type;
    entry.mode = field(bytes, at, MODE, "mode") & 0o7777;
    entry.uid = id(extensions?.uid ?? field(bytes, at, UID, "user id"), "user id");
    entry.gid = id(extensions?.gid ?? field(bytes, at, GID, "group id"), "group id");
    entry.size = extensions?.size ?? number(bytes, at + SIZE[0], SIZE[1]);
    if (!(entry.size >= 0)) {
      throw new RangeError("the size of its data is not a number from 0 to 2^53");
    }
    [entry.seconds, entry.nanos] = extensions?.modified ?? [timeField(bytes, at), 0];
    [entry.accessSeconds, entry.accessNanos] = extensions?.accessed ?? [entry.seconds, entry.nanos];
    entry.xattrs = extensions?.xattrs ?? NONE;
    entry.sparse = undefined;
    if (hasNoData(entry.type)) {
      entry.size = 0;
      if (isLink(entry.type)) this.#decodeLink(bytes, at);
      if (entry.type === CHARACTER_DEVICE || entry.type === BLOCK_DEVICE) {
        entry.major = field(bytes, at, MAJOR, "device number");
        entry.minor = field(bytes, at, MINOR, "device number");
      }
    }
    if (type === GNU_SPARSE) this.#header.set(bytes.subarray(at, at + BLOCK));
    window.take(BLOCK);
    this.#end = window.position + entry.size + padding(entry.size);
    if (type === GNU_SPARSE) this.#decodeOldSparse();
    else if (entry.type === REGULAR && extensions?.sparse) this.#decodePaxSparse(extensions.sparse);
  }

  /**
   * Sets the entry's path; returns whether the tar wrote it with a slash at its end, as V7 did
   * directories.
   */
  #decodeName(bytes: Uint8Array, at: number): boolean {
    const long = this.#longNameOf();
    if (long !== undefined) {
      this.entry.setPath(long, long.length);
      return long.at(-1) === SLASH;
    }
    const raw = this.#raw;
    let length = 0;
    const prefix = prefixField(bytes, at, dialect(bytes, at));
    if (prefix !== undefined && bytes[at + prefix[0]] !== 0) {
      length = textLength(bytes, prefix, at);
      for (let i = 0; i < length; i++) raw[i] = bytes[at + prefix[0] + i];
      raw[length++] = SLASH;
    }
    const rest = textLength(bytes, NAME, at);
    for (let i = 0; i < rest; i++) raw[length + i] = bytes[at + i];
    this.#rawLength = length + rest;
    this.entry.setPath(raw, this.#rawLength);
    return raw[this.#rawLength - 1] === SLASH;
  }

  #decodeLink(bytes: Uint8Array, at: number): void {
    const { entry } = this;
    const start = at + LINK_NAME[0];
    const raw = this.#extensions?.linkPath ?? this.#longLink ??
      bytes.subarray(start, start + textLength(bytes, LINK_NAME, at));
    if (entry.type === SYMBOLIC_LINK) {
      entry.target = linkTarget(raw);
      return;
    }
    try {
      entry.linked.setPath(raw, raw.length);
      if (entry.linked.pathLength === 0) throw new PathError("its target is the layer's root");
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
      throw new PathError(`as the target of a hard link, ${error.message}`);
    }
  }

  #decodeOldSparse(): void {
    const { entry, window } = this;
    const before = window.position;
    entry.type = REGULAR;
    entry.sparse = readOldGnuMap(window, this.#header);
    checkSparseMap(entry.sparse, entry.size);
    this.#end += window.position - before;
  }

  #decodePaxSparse(sparse: SparseRecords): void {
    const { entry, window } = this;
    const before = window.position;
    const map = readPaxMap(window, sparse);
    if (map === undefined) return;
    // Format 1.0's map is counted in the size of the data.
    entry.size -= window.position - before;
    checkSparseMap(map, entry.size);
    entry.sparse = map;
  }
}

/** A prefix, a slash, a name. */
const PREFIX_AND_NAME = PREFIX[1] + 1 + NAME[1];
const NONE: readonly never[] = [];

export function refuseUnmarkedEnd(offset: number): void {
  throw badTar(
    offset,
    "the tar ends without its end-of-archive marker (1024 zero bytes): it is cut short",
  );
}

/** The error of a tar that ends too early, at `offset`. */
export function cutShort(offset: number, name?: string): VeneerError {
  return badTar(offset, "the tar ends in the middle of an entry: it is cut short", name);
}

function isExtension(type: number): boolean {
  return type === PAX || type === PAX_SOLARIS || type === PAX_GLOBAL ||
    type === GNU_LONG_NAME || type === GNU_LONG_LINK;
}

/** Types without data, whatever their size field holds, as writers of layers expect. */
function hasNoData(type: number): boolean {
  return type >= HARD_LINK && type <= FIFO;
}

function isLink(type: number): boolean {
  return type === HARD_LINK || type === SYMBOLIC_LINK;
}

function field(bytes: Uint8Array, at: number, [offset, length]: Field, what: string): number {
  const value = number(bytes, at + offset, length);
  if (Number.isNaN(value)) throw new RangeError(`its ${what} is not a number`);
  return value;
}

function timeField(bytes: Uint8Array, at: number): number {
  const value = seconds(bytes, at + MTIME[0], MTIME[1]);
  if (Number.isNaN(value)) throw new RangeError("its time is not a number");
  return value;
}

function id(value: number, what: string): number {
  if (value < 0 || value >= NO_ID) throw new RangeError(`its ${what} ${value} is invalid`);
  return value;
}

/** GNU's names end at their first NUL, as its own reader and every other one has it. */
function untilNul(bytes: Uint8Array): Uint8Array {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}
