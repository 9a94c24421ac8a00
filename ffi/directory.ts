/**
 * Directories as `getdents64(2)` lists them.
 *
 * @module
 */
import { decode } from "./cstring.ts";
import { E, tree } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

// `d_type`: `linux/fs.h`.
export const DT_UNKNOWN = 0;
export const DT_FIFO = 1;
export const DT_CHR = 2;
export const DT_DIR = 4;
export const DT_BLK = 6;
export const DT_REG = 8;
export const DT_LNK = 10;
export const DT_SOCK = 12;

// `struct linux_dirent64` (getdents(2)): d_ino 0, d_off 8, d_reclen 16, d_type 18, d_name 19.
const RECLEN = 16;
const TYPE = 18;
const NAME = 19;

/** One entry: its name's bytes and its type (`DT_UNKNOWN` where the file system does not say). */
export interface Entry {
  /** NUL-terminated; a copy, which the receiver owns. */
  name: Uint8Array<ArrayBuffer>;
  type: number;
}

/** 32 KiB: as much as glibc's readdir asks for at once. */
const buffer = new Uint8Array(32 << 10);

/**
 * All entries of an open directory but `.` and `..`, in the file system's order.
 *
 * Reads from the descriptor's current position to the end: open it anew for a second listing.
 */
export function readEntries(fd: number): Entry[] {
  const entries: Entry[] = [];
  for (;;) {
    const got = tree().getdents64(fd, buffer, buffer.byteLength);
    const length = unwrap(got < 0 ? -E[0] : got, "getdents64");
    if (length === 0) return entries;
    for (let at = 0; at < length;) {
      const next = at + (buffer[at + RECLEN] | buffer[at + RECLEN + 1] << 8);
      const start = at + NAME;
      const end = buffer.indexOf(0, start) + 1;
      if (!isDots(start, end - start)) {
        entries.push({
          name: buffer.slice(start, end),
          type: buffer[at + TYPE],
        });
      }
      at = next;
    }
  }
}

/** Whether the NUL-terminated name of `length` bytes at `start` is `.` or `..`. */
function isDots(start: number, length: number): boolean {
  const DOT = 0x2e;
  return buffer[start] === DOT &&
    (length === 2 || length === 3 && buffer[start + 1] === DOT);
}

/** The names in an open directory, as text (see `cstring.ts`), sorted. */
export function readNames(fd: number): string[] {
  return readEntries(fd)
    .map((entry) => decode(entry.name.subarray(0, -1)))
    .sort();
}
