/**
 * `statx(2)`: type, owner, size and times of an entry.
 *
 * @module
 */
import { cstring, type Path } from "./cstring.ts";
import type { EntryName } from "./entry_name.ts";
import { ENOENT, ENOTDIR } from "./errno.ts";
import { E, tree } from "./libc.ts";
import { layout } from "./struct.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "./names.ts";
import { unwrap } from "./unwrap.ts";

/** `struct statx` of `linux/stat.h`. */
export const STATX = layout("struct statx", 256, {
  stx_mask: ["u32", 0],
  stx_attributes: ["u64", 8],
  stx_nlink: ["u32", 16],
  stx_uid: ["u32", 20],
  stx_gid: ["u32", 24],
  stx_mode: ["u16", 28],
  stx_ino: ["u64", 32],
  stx_size: ["u64", 40],
  stx_blocks: ["u64", 48],
  stx_attributes_mask: ["u64", 56],
  "stx_atime.tv_sec": ["i64", 64],
  "stx_atime.tv_nsec": ["u32", 72],
  "stx_btime.tv_sec": ["i64", 80],
  "stx_btime.tv_nsec": ["u32", 88],
  "stx_ctime.tv_sec": ["i64", 96],
  "stx_ctime.tv_nsec": ["u32", 104],
  "stx_mtime.tv_sec": ["i64", 112],
  "stx_mtime.tv_nsec": ["u32", 120],
  stx_rdev_major: ["u32", 128],
  stx_rdev_minor: ["u32", 132],
  stx_dev_major: ["u32", 136],
  stx_dev_minor: ["u32", 140],
  stx_mnt_id: ["u64", 144],
});

/**
 * The unit of `st_blocks` in bytes, independent of the file system's own blocks: `sys/stat.h`,
 * statx(2).
 */
export const S_BLKSIZE = 512;

/** The fields of plain `stat` (`linux/stat.h`). */
export const STATX_BASIC_STATS = 0x7ff;
/** The time of creation, if the file system stores it. */
export const STATX_BTIME = 0x800;
/** The id of the mount, as in `/proc/self/mountinfo` (Linux 5.8). */
export const STATX_MNT_ID = 0x1000;
/** In `stx_attributes`: the entry is the root of a mount (Linux 5.8). */
const STATX_ATTR_MOUNT_ROOT = 0x2000;
/** `linux/fcntl.h`: do not trigger an automount. */
const AT_NO_AUTOMOUNT = 0x800;

/**
 * The buffer that `statx` fills, and its fields. One is reused for many calls: read the fields
 * before the next call. Sizes and times are numbers (exact up to 2^53); inode numbers are BigInts,
 * as file systems use all 64 bits.
 */
export class Stat {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(STATX.size);
  readonly #u16 = new Uint16Array(this.bytes.buffer);
  readonly #u32 = new Uint32Array(this.bytes.buffer);
  readonly #i32 = new Int32Array(this.bytes.buffer);
  readonly #u64 = new BigUint64Array(this.bytes.buffer);

  /** Type and permission bits. */
  get mode(): number {
    return this.#u16[28 / 2];
  }
  /** The type bits of {@linkcode mode}: `S_IFREG` … */
  get type(): number {
    return this.mode & S_IFMT;
  }
  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }
  get isFile(): boolean {
    return this.type === S_IFREG;
  }
  get isSymlink(): boolean {
    return this.type === S_IFLNK;
  }
  get isDevice(): boolean {
    return this.type === S_IFCHR || this.type === S_IFBLK;
  }
  get uid(): number {
    return this.#u32[20 / 4];
  }
  get gid(): number {
    return this.#u32[24 / 4];
  }
  get links(): number {
    return this.#u32[16 / 4];
  }
  get inode(): bigint {
    return this.#u64[32 / 8];
  }
  /** Its halves, which are compared faster. */
  get inodeLow(): number {
    return this.#u32[32 / 4];
  }
  get inodeHigh(): number {
    return this.#u32[36 / 4];
  }
  /** In bytes. */
  get size(): number {
    return this.#u32[40 / 4] + this.#u32[44 / 4] * 0x1_0000_0000;
  }
  /** Space taken, in units of 512 bytes. */
  get blocks(): number {
    return this.#u32[48 / 4] + this.#u32[52 / 4] * 0x1_0000_0000;
  }
  get accessSeconds(): number {
    return this.#u32[64 / 4] + this.#i32[68 / 4] * 0x1_0000_0000;
  }
  get accessNanos(): number {
    return this.#u32[72 / 4];
  }
  get changeSeconds(): number {
    return this.#u32[96 / 4] + this.#i32[100 / 4] * 0x1_0000_0000;
  }
  get changeNanos(): number {
    return this.#u32[104 / 4];
  }
  get seconds(): number {
    return this.#u32[112 / 4] + this.#i32[116 / 4] * 0x1_0000_0000;
  }
  get nanos(): number {
    return this.#u32[120 / 4];
  }
  /** Of a device node: the number of its device. */
  get rdevMajor(): number {
    return this.#u32[128 / 4];
  }
  get rdevMinor(): number {
    return this.#u32[132 / 4];
  }
  /**
   * Nanoseconds since the epoch of the entry's creation; 0 if the file system does not store it.
   */
  get birth(): bigint {
    if ((this.#u32[0] & STATX_BTIME) === 0) return 0n;
    return this.#u64[80 / 8] * 1_000_000_000n + BigInt(this.#u32[88 / 4]);
  }
  /** Whether the entry is the root of a mount; `undefined` on kernels before 5.8. */
  get isMountRoot(): boolean | undefined {
    if ((this.#u32[56 / 4] & STATX_ATTR_MOUNT_ROOT) === 0) return undefined;
    return (this.#u32[8 / 4] & STATX_ATTR_MOUNT_ROOT) !== 0;
  }
  /** The id of the mount that the entry was found on; 0 on kernels before 5.8. */
  get mountId(): bigint {
    return (this.#u32[0] & STATX_MNT_ID) === 0 ? 0n : this.#u64[144 / 8];
  }
  /** Whether both are of the very same inode of the same file system. */
  isSameInode(other: Stat): boolean {
    return this.inodeLow === other.inodeLow && this.inodeHigh === other.inodeHigh &&
      this.devMajor === other.devMajor && this.devMinor === other.devMinor;
  }
  /** The file system's device. */
  get devMajor(): number {
    return this.#u32[136 / 4];
  }
  get devMinor(): number {
    return this.#u32[140 / 4];
  }
}

const EMPTY = cstring("");

/** `statx(2)` with the fields that every caller here needs, raw: 0 or `-errno`. */
function tryStatx(
  directory: number,
  path: Uint8Array<ArrayBuffer>,
  flags: number,
  stat: Stat,
): number {
  const result = tree.statx()(directory, path, flags, STATX_BASIC_STATS, stat.bytes);
  return result < 0 ? -E[0] : result;
}

/** `statx(2)` of the entry itself (links are not followed), raw: 0 or `-errno`. */
export function tryStatat(dirfd: number, name: EntryName, stat: Stat): number {
  return tryStatx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, stat);
}

/** The same with {@linkcode Stat.birth}. */
export function tryStatBirthAt(dirfd: number, name: EntryName, stat: Stat): number {
  const mask = STATX_BASIC_STATS | STATX_BTIME;
  const result = tree.statx()(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, mask, stat.bytes);
  return result < 0 ? -E[0] : 0;
}

/**
 * The same at a path relative to a directory, raw. Directories on the way may be links, so use the
 * result only for a comparison with one that was reached without links.
 */
export function tryStatRelative(directory: number, path: Path, stat: Stat): number {
  return tryStatx(directory, cstring(path), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, stat);
}

/** `statx(2)` of an open file, raw: 0 or `-errno`. */
export function tryFstat(fd: number, stat: Stat): number {
  return tryStatx(fd, EMPTY, AT_EMPTY_PATH, stat);
}

/** `statx(2)` of the entry at a path, links not followed, raw: 0 or `-errno`. */
function tryStatPath(path: Path, stat: Stat): number {
  return tryStatx(AT_FDCWD, cstring(path), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, stat);
}

/** The entry at `path`, links not followed. */
export function lstat(path: Path, stat = new Stat()): Stat {
  unwrap(tryStatPath(path, stat), "statx", path);
  return stat;
}

/** The same, or `undefined` if the entry does not exist. Other failures throw. */
export function tryLstat(path: Path, stat = new Stat()): Stat | undefined {
  const result = tryStatPath(path, stat);
  if (result === -ENOENT || result === -ENOTDIR) return undefined;
  unwrap(result, "statx", path);
  return stat;
}

/**
 * The same with {@linkcode Stat.birth} and the mount it is on; `undefined` if the entry does not
 * exist.
 */
export function tryLstatMount(path: Path, stat = new Stat()): Stat | undefined {
  const bytes = cstring(path);
  const failed = tree.statx()(
    AT_FDCWD,
    bytes,
    AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
    STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID,
    stat.bytes,
  );
  const result = failed < 0 ? -E[0] : 0;
  if (result === -ENOENT || result === -ENOTDIR) return undefined;
  unwrap(result, "statx", path);
  return stat;
}

/** The state of an open file. */
export function fstat(fd: number, stat = new Stat()): Stat {
  unwrap(tryFstat(fd, stat), "statx");
  return stat;
}
