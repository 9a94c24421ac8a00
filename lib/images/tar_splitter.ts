/**
 * Splits the stream of a tar into the content of files, which the layer keeps, and all other bytes,
 * which its record keeps (`tar_record.ts`). So the tar can be made again byte for byte.
 *
 * Unknown parts are kept as bytes: this makes the record larger, but not wrong. Content that the
 * layer loses to a later entry (`path_conflicts.ts`) is kept as bytes too; for that the tar is read
 * again.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { SLASH } from "../../ffi/cstring.ts";
import {
  BLOCK,
  checksumAgrees,
  CONTIGUOUS,
  dialect,
  DIRECTORY,
  GNU_LONG_LINK,
  GNU_LONG_NAME,
  isZeroBlock,
  NAME,
  number,
  padding,
  PAX,
  PAX_GLOBAL,
  PAX_SOLARIS,
  prefixField,
  REGULAR,
  REGULAR_V7,
  SIZE,
  SYMBOLIC_LINK,
  textLength,
  TYPE,
} from "../tar/header.ts";
import { LayerPath } from "../tar/read/layer_path.ts";
import { Extensions } from "../tar/read/pax.ts";
import { hashesOf, LostPaths, PathConflicts } from "./path_conflicts.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Receives the parts of a tar in their order. */
export interface TarParts {
  /** Bytes that are not the content of a file. */
  raw(bytes: Bytes): void;
  /**
   * The content of a file has passed.
   *
   * @param path relative to the layer's root, without a NUL
   * @param sum CRC-32 of the content
   */
  file(path: Bytes, size: number, sum: number): void;
}

/** The size of the largest extension header that is parsed, in bytes. */
const LONGEST_EXTENSION = 1 << 20;

/** The part of the tar that the next bytes belong to. */
type State = "header" | "extension" | "content" | "data" | "rest";

/** Splits one tar. */
export class TarSplitter {
  readonly #parts: TarParts;
  readonly #header = new Uint8Array(BLOCK);
  #filled = 0;
  #state: State = "header";
  /** Bytes of the present state that are still to come. */
  #left = 0;
  #padding = 0;
  /** The type and the body of the present extension header. */
  #type = 0;
  #body = new Uint8Array();
  #extensions: Extensions | undefined;
  #longName: Uint8Array | undefined;
  readonly #path = new LayerPath();
  /** The file whose content passes. */
  #file: Bytes = new Uint8Array();
  #hash = 0;
  #size = 0;
  #sum = 0;
  readonly #conflicts = new PathConflicts();
  readonly #keptApart: LostPaths;

  /** @param keptApart the files whose content is kept as bytes */
  constructor(parts: TarParts, keptApart: LostPaths = new LostPaths()) {
    this.#parts = parts;
    this.#keptApart = keptApart;
  }

  /** The files whose content the layer does not keep. Those that were kept apart are left out. */
  get lost(): LostPaths {
    return this.#conflicts.lost;
  }

  /** See {@linkcode PathConflicts.others}. */
  get others(): readonly string[] | undefined {
    return this.#conflicts.others;
  }

  /**
   * Receives the next bytes of the tar. The caller may use their buffer again when this returns.
   */
  push(bytes: Bytes): void {
    for (let rest = bytes; rest.length > 0;) {
      const part = rest.subarray(0, this.#wanted(rest.length));
      rest = rest.subarray(part.length);
      this.#take(part);
    }
  }

  #wanted(available: number): number {
    if (this.#state === "header") return BLOCK - this.#filled;
    return this.#state === "rest" ? available : this.#left;
  }

  /** Ends the tar. A header that is cut short is kept as bytes. */
  end(): void {
    if (this.#filled > 0) this.#parts.raw(this.#header.slice(0, this.#filled));
    if (this.#state === "content") this.lost.add(this.#hash);
  }

  #take(part: Bytes): void {
    switch (this.#state) {
      case "header":
        this.#header.set(part, this.#filled);
        this.#filled += part.length;
        if (this.#filled === BLOCK) this.#takeHeader();
        return;
      case "content":
        this.#sum = crc32(part, this.#sum);
        this.#left -= part.length;
        if (this.#left === 0) this.#endContent();
        return;
      case "extension":
        this.#body.set(part.subarray(0, Math.max(0, this.#left - this.#padding)), this.#at);
        this.#parts.raw(part);
        this.#left -= part.length;
        if (this.#left === 0) this.#endExtension();
        return;
      case "data":
        this.#parts.raw(part);
        this.#left -= part.length;
        if (this.#left === 0) this.#state = "header";
        return;
      case "rest":
        this.#parts.raw(part);
    }
  }

  /** The bytes of the extension's body that were received. */
  get #at(): number {
    return this.#body.length + this.#padding - this.#left;
  }

  #takeHeader(): void {
    const header = this.#header;
    this.#filled = 0;
    this.#parts.raw(header.slice());
    try {
      this.#understand(header);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#state = "rest";
    }
  }

  #understand(header: Bytes): void {
    if (isZeroBlock(header, 0) || !checksumAgrees(header, 0)) {
      this.#state = "rest";
      return;
    }
    const type = header[TYPE], size = number(header, ...SIZE);
    if (!(size >= 0)) throw new RangeError("no size");
    if (isExtension(type)) {
      if (size > LONGEST_EXTENSION) throw new RangeError("a long extension");
      this.#type = type;
      this.#body = new Uint8Array(size);
      this.#padding = padding(size);
      this.#expect("extension", size + this.#padding);
      if (size === 0) this.#endExtension();
      return;
    }
    this.#beginEntry(header, type, size);
    this.#extensions = this.#longName = undefined;
  }

  #beginEntry(header: Bytes, type: number, ownSize: number): void {
    const size = this.#extensions?.size ?? ownSize;
    const isSparse = this.#extensions?.sparse !== undefined;
    const isFile = type === REGULAR || type === REGULAR_V7 || type === CONTIGUOUS;
    this.#setPath(header);
    const { path, pathLength, whiteoutStart } = this.#path, hashes = hashesOf(path, pathLength);
    const isWhiteout = whiteoutStart >= 0;
    if (isWhiteout) this.#conflicts.addWhiteout(this.#path);
    else this.#conflicts.addEntry(path, hashes, type === DIRECTORY, type === SYMBOLIC_LINK);
    const isKept = isFile && !isSparse && !isWhiteout && !this.#keptApart.covers(hashes);
    if (isKept && size > 0) {
      this.#conflicts.addFile(hashes);
      this.#hash = hashes.at(-1)!;
      this.#file = path.slice(0, pathLength);
      this.#size = size;
      this.#sum = 0;
      this.#padding = padding(size);
      this.#expect("content", size);
      return;
    }
    // Links, devices and directories have no data, even if their size field is not 0.
    const hasData = type < 0x31 || type > 0x36 || type === 0;
    this.#expect("data", hasData ? size + padding(size) : 0);
  }

  #expect(state: State, bytes: number): void {
    this.#left = bytes;
    this.#state = bytes === 0 ? "header" : state;
  }

  #endContent(): void {
    this.#parts.file(this.#file, this.#size, this.#sum);
    this.#expect("data", this.#padding);
  }

  #endExtension(): void {
    this.#state = "header";
    try {
      if (this.#type === GNU_LONG_NAME) this.#longName = untilNul(this.#body);
      else if (this.#type === PAX || this.#type === PAX_SOLARIS) {
        (this.#extensions ??= new Extensions()).parse(this.#body);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#state = "rest";
    }
  }

  #setPath(header: Bytes): void {
    const long = this.#extensions?.path ?? this.#longName;
    if (long !== undefined) return this.#path.setPath(long, long.length);
    const prefix = prefixField(header, 0, dialect(header, 0));
    const before = prefix === undefined ? 0 : textLength(header, prefix, 0);
    const length = textLength(header, NAME, 0);
    const raw = new Uint8Array(before + 1 + length);
    let at = 0;
    if (before > 0) {
      raw.set(header.subarray(prefix![0], prefix![0] + before));
      raw[before] = SLASH;
      at = before + 1;
    }
    raw.set(header.subarray(NAME[0], NAME[0] + length), at);
    this.#path.setPath(raw, at + length);
  }
}

function isExtension(type: number): boolean {
  return type === PAX || type === PAX_SOLARIS || type === PAX_GLOBAL ||
    type === GNU_LONG_NAME || type === GNU_LONG_LINK;
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}
