/**
 * Directories as `getdents64(2)` lists them.
 *
 * @module
 */
import { decode, DOT } from "./cstring.ts";
import { type EntryName, entryNameIn, nameText } from "./entry_name.ts";
import { ENOENT } from "./errno.ts";
import { E, tree } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

// `d_type`: `linux/fs.h`.
export const DT_UNKNOWN = 0;
export const DT_FIFO = 1;
export const DT_CHR = 2;
export const DT_DIR = 4;
export const DT_REG = 8;
export const DT_LNK = 10;

// `struct linux_dirent64` (getdents(2)): d_ino 0, d_off 8, d_reclen 16, d_type 18, d_name 19.
const RECLEN = 16;
const TYPE = 18;
const NAME = 19;

/** One entry: its name's bytes and its type (`DT_UNKNOWN` if the file system stores no types). */
export interface Entry {
  /** A copy, which the receiver owns. */
  name: EntryName;
  type: number;
}

/** 32 KiB: as much as glibc's readdir asks for at once. */
const buffer = new Uint8Array(32 << 10);

/**
 * Reads the next entries into the buffer; returns their length in bytes, 0 at the end. A directory
 * that was removed after it was opened has no entries any more; the kernel then returns `ENOENT`.
 */
function fillBuffer(fd: number): number {
  const got = tree.getdents64()(fd, buffer, buffer.byteLength);
  if (got >= 0) return got;
  const result = -E[0];
  return result === -ENOENT ? 0 : unwrap(result, "getdents64");
}

/**
 * All entries of an open directory but `.` and `..`, in the file system's order.
 *
 * Reads from the descriptor's current position to the end: open the directory again for a second
 * listing.
 */
export function readEntries(fd: number): Entry[] {
  const entries: Entry[] = [];
  for (let some; (some = readSomeEntries(fd)).length > 0;) entries.push(...some);
  return entries;
}

/** The next entries of an open directory, as many as one call returns; empty at its end. */
export function readSomeEntries(fd: number): Entry[] {
  const entries: Entry[] = [];
  while (entries.length === 0) {
    const length = fillBuffer(fd);
    if (length === 0) break;
    for (let at = 0; at < length;) {
      const next = at + (buffer[at + RECLEN] | buffer[at + RECLEN + 1] << 8);
      const start = at + NAME;
      const end = buffer.indexOf(0, start) + 1;
      if (!isDots(start, end - start)) {
        entries.push({
          name: entryNameIn(buffer, start, end - 1),
          type: buffer[at + TYPE],
        });
      }
      at = next;
    }
  }
  return entries;
}

/** The result of {@linkcode readSubdirectories}. */
export interface Subdirectories {
  /** Names of directories and of entries of unknown type, in the file system's order. */
  readonly names: EntryName[];
  /** Whether there is an entry with the given name. */
  readonly has: boolean;
}

/**
 * The subdirectories in an open directory, and whether it has an entry `name`. Reads from the
 * descriptor's current position to the end.
 */
export function readSubdirectories(fd: number, name: EntryName): Subdirectories {
  const names: EntryName[] = [];
  let has = false;
  for (let length; (length = fillBuffer(fd)) > 0;) {
    for (let at = 0; at < length; at += buffer[at + RECLEN] | buffer[at + RECLEN + 1] << 8) {
      const type = buffer[at + TYPE], start = at + NAME;
      has ||= isName(start, name);
      if (type !== DT_DIR && type !== DT_UNKNOWN) continue;
      const end = buffer.indexOf(0, start);
      if (!isDots(start, end + 1 - start)) names.push(entryNameIn(buffer, start, end));
    }
  }
  return { names, has };
}

/** Whether the NUL-terminated name at `start` is this one. */
function isName(start: number, name: EntryName): boolean {
  for (let i = 0; i < name.length; i++) if (buffer[start + i] !== name[i]) return false;
  return true;
}

/** Whether the NUL-terminated name of `length` bytes at `start` is `.` or `..`. */
function isDots(start: number, length: number): boolean {
  return buffer[start] === DOT &&
    (length === 2 || length === 3 && buffer[start + 1] === DOT);
}

/** A name in a directory, as text (see `cstring.ts`), and its inode number in the directory. */
export interface NumberedName {
  readonly name: string;
  /** `d_ino`; for a btrfs subvolume its id, while `statx(2)` returns 256 for all of them. */
  readonly inode: bigint;
}

/** The names in an open directory with their inode numbers, in the file system's order. */
export function readNumberedNames(fd: number): NumberedName[] {
  const names: NumberedName[] = [];
  const view = new DataView(buffer.buffer);
  for (let length; (length = fillBuffer(fd)) > 0;) {
    for (let at = 0; at < length; at += view.getUint16(at + RECLEN, true)) {
      const start = at + NAME, end = buffer.indexOf(0, start);
      if (isDots(start, end + 1 - start)) continue;
      names.push({ name: decode(buffer.subarray(start, end)), inode: view.getBigUint64(at, true) });
    }
  }
  return names;
}

/** The names in an open directory, as text (see `cstring.ts`), sorted. */
export function readNames(fd: number): string[] {
  return readEntries(fd)
    .map((entry) => nameText(entry.name))
    .sort();
}

/**
 * The names of a listing being read, NUL-terminated, one after the other; grows, and is used again.
 */
let block = new Uint8Array(64 << 10);
const blockUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A directory's entries in the order of `comparePaths`, all names in one buffer: for walks of large
 * trees.
 *
 * `names` (text, see `cstring.ts`) and `name(i)` (for system calls) are the same names.
 */
export class Listing {
  readonly names: readonly string[];
  readonly #block: Uint8Array<ArrayBuffer>;
  /** The offsets of the names in the block, in the file system's order, and the last one's end. */
  readonly #starts: Uint32Array;
  readonly #types: Uint8Array;
  /** From the sorted position to that in the file system's order. */
  readonly #order: Uint32Array;

  constructor(block: Uint8Array<ArrayBuffer>, starts: number[], types: number[]) {
    this.#block = block;
    this.#starts = Uint32Array.from(starts);
    this.#types = Uint8Array.from(types);
    const names = textOf(block, starts);
    this.#order = Uint32Array.from(types, (_, i) => i)
      .sort((a, b) => names[a] < names[b] ? -1 : 1);
    this.names = Array.from(this.#order, (at) => names[at]);
  }

  get length(): number {
    return this.#order.length;
  }

  /** The name at a position, checked. */
  name(index: number): EntryName {
    const at = this.#order[index];
    return entryNameIn(this.#block, this.#starts[at], this.#starts[at + 1] - 1);
  }

  /** `DT_REG` …, or `DT_UNKNOWN` if the file system stores no types. */
  type(index: number): number {
    return this.#types[this.#order[index]];
  }
}

/** Decodes all names at once, or one by one if a name is not UTF-8. */
function textOf(block: Uint8Array<ArrayBuffer>, starts: number[]): string[] {
  try {
    return blockUtf8.decode(block).split("\0");
  } catch {
    return starts.slice(0, -1).map((start, i) => decode(block.subarray(start, starts[i + 1] - 1)));
  }
}

/**
 * Reads an open directory from its current position to the end, as {@linkcode readEntries} does.
 */
export function readListing(fd: number): Listing {
  const starts: number[] = [], types: number[] = [];
  let end = 0;
  for (;;) {
    const length = fillBuffer(fd);
    if (length === 0) break;
    if (end + length > block.byteLength) block = grown(block, end);
    for (let at = 0; at < length;) {
      const next = at + (buffer[at + RECLEN] | buffer[at + RECLEN + 1] << 8);
      const start = at + NAME;
      if (!isDots(start, buffer[start + 1] === 0 ? 2 : buffer[start + 2] === 0 ? 3 : 4)) {
        starts.push(end);
        types.push(buffer[at + TYPE]);
        for (let i = start; (block[end++] = buffer[i]) !== 0; i++);
      }
      at = next;
    }
  }
  starts.push(end);
  return new Listing(block.slice(0, end), starts, types);
}

/** A buffer of twice the size that begins with the first `used` bytes. */
function grown(bytes: Uint8Array<ArrayBuffer>, used: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.byteLength * 2);
  larger.set(bytes.subarray(0, used));
  return larger;
}
