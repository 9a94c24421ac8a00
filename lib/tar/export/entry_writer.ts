/**
 * One entry of a file system to one entry of a tar.
 *
 * The tree may change while it is read: a removed entry is left out and a file that shrank is
 * filled up with zeros, each with a warning; a file that grew is cut at its former size.
 *
 * @module
 */
import { decode, DOT, SLASH } from "../../../ffi/cstring.ts";
import type { EntryName } from "../../../ffi/entry_name.ts";
import { close } from "../../../ffi/files.ts";
import { tryOpenToRead } from "../../../ffi/quiet_open.ts";
import { fstat, S_BLKSIZE, Stat, tryStatat } from "../../../ffi/stat.ts";
import {
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFSOCK,
  tryReadlinkat,
} from "../../../ffi/names.ts";
import { VeneerError } from "../../base/errors.ts";
import type { IdMap, IdMaps } from "../../base/id_maps.ts";
import { formatSize } from "../../base/sizes.ts";
import type { Warn } from "../../base/warn.ts";
import { isGone } from "../../tree/gone.ts";
import { OPAQUE_MARKER, WHITEOUT_PREFIX } from "../../tree/whiteouts.ts";
import {
  BLOCK,
  BLOCK_DEVICE,
  CHARACTER_DEVICE,
  DIRECTORY,
  FIFO,
  HARD_LINK,
  padding,
  REGULAR,
  SYMBOLIC_LINK,
  type Xattr,
} from "../header.ts";
import { encodeHeader, PaxRecords, type TarRecord } from "./encode.ts";
import type { EntryBuffer } from "./entry_buffer.ts";
import { exportedXattrs, exportedXattrsAt, type XattrsContext } from "./exported_xattrs.ts";
import { toTar, UnmappedId } from "../mapped_xattrs.ts";
import type { Links } from "./links.ts";

const NOTHING = new Uint8Array(0);
const NO_XATTRS: readonly Xattr[] = [];
const WHITEOUT = new TextEncoder().encode(WHITEOUT_PREFIX);
const OPAQUE = new TextEncoder().encode(OPAQUE_MARKER);

/** A whiteout has owner 0 and time 0, so a deletion is the same bytes for every driver. */
const WHITEOUT_MODE = 0o600;

/**
 * Holes of more bytes than this are warned of: the tar has them as zeros. Sparse forms of tar would
 * not help: engines that take a tar apart and put it together again from its files (tar-split)
 * cannot restore them.
 */
const LARGE_HOLES = 1 << 30;

/** The entry types that {@linkcode EntryWriter.special} writes. */
const SPECIAL: Readonly<Record<number, number>> = {
  [S_IFLNK]: SYMBOLIC_LINK,
  [S_IFCHR]: CHARACTER_DEVICE,
  [S_IFBLK]: BLOCK_DEVICE,
  [S_IFIFO]: FIFO,
};

/** The common settings of one tar's entries. */
export interface TarContext {
  readonly idMaps: IdMaps;
  readonly links: Pick<Links, "find" | "add">;
  readonly warn: Warn;
  /**
   * The entries are of an upper directory of overlay, whose attributes may mark content as
   * elsewhere.
   */
  readonly isUpper: boolean;
}

/**
 * Writes entries to an output. Paths are relative to the layer's root, those of directories with a
 * slash at their end, the root's own being empty; names end with NUL.
 */
export class EntryWriter {
  readonly #output: EntryBuffer;
  readonly #uids: IdMap;
  readonly #gids: IdMap;
  readonly #warn: Warn;
  readonly #links: Pick<Links, "find" | "add">;
  readonly #isUpper: boolean;
  readonly #pax = new PaxRecords();
  readonly #stat = new Stat();
  readonly #record: TarRecord = {
    path: NOTHING,
    type: REGULAR,
    mode: WHITEOUT_MODE,
    uid: 0,
    gid: 0,
    size: 0,
    seconds: 0,
    nanos: 0,
    link: NOTHING,
    major: 0,
    minor: 0,
    xattrs: NO_XATTRS,
  };

  constructor(output: EntryBuffer, { idMaps, links, warn, isUpper }: TarContext) {
    this.#output = output;
    this.#uids = idMaps.uids;
    this.#gids = idMaps.gids;
    this.#links = links;
    this.#warn = warn;
    this.#isUpper = isUpper;
  }

  /** Gets a warning for each entry that is left out or altered, in the order of the tar. */
  warn(path: Uint8Array, what: string): void {
    this.#output.finishPieces();
    this.#warn(`/${decode(path)} ${what}`);
  }

  /**
   * A name that begins with `.wh.` marks a deletion in a tar, so no other entry can have it there.
   */
  leaveOutReserved(path: Uint8Array): void {
    this.warn(path, "has a name that marks a deletion in a tar: left out");
  }

  /** The state of an entry, if it still exists; valid until the next call of any method. */
  stat(dirfd: number, name: EntryName, path: Uint8Array): Stat | undefined {
    return this.isThere(tryStatat(dirfd, name, this.#stat), "statx", path) ? this.#stat : undefined;
  }

  /**
   * Whether the raw result of a call on an entry is a success; one that has gone or became another
   * since its directory was listed is warned of.
   *
   * @throws {SyscallError} for every other failure
   */
  isThere(result: number, syscall: string, path: Uint8Array): boolean {
    if (result >= 0) return true;
    isGone(result, syscall, `/${decode(path)}`);
    this.warn(path, "was removed or replaced while it was read: left out");
    return false;
  }

  /** Writes the entry of an open directory; that of the root is `./`. */
  directory(fd: number, path: Uint8Array): void {
    fstat(fd, this.#stat);
    this.#take(path.length > 0 ? path : Uint8Array.of(DOT, SLASH), DIRECTORY);
    this.#record.xattrs = exportedXattrs(fd, this.#xattrsOf(path));
    this.#put();
  }

  /** Writes a regular file with its data, or a link to the first name of its inode in the tar. */
  file(dirfd: number, name: EntryName, path: Uint8Array): void {
    const fd = tryOpenToRead(dirfd, name);
    if (!this.isThere(fd, "openat", path)) return;
    try {
      const stat = fstat(fd, this.#stat);
      if (!stat.isFile) return this.warn(path, "was replaced while it was read: left out");
      if (this.#linked(path)) return;
      const { size } = stat;
      const holes = size - stat.blocks * S_BLKSIZE;
      if (holes >= LARGE_HOLES) {
        this.warn(path, `has ${formatSize(holes)} of holes, which the tar holds as zeros`);
      }
      this.#take(path, REGULAR);
      this.#record.size = size;
      this.#record.xattrs = exportedXattrs(fd, this.#xattrsOf(path));
      this.#put();
      if (stat.links > 1) this.#links.add(stat, path);
      if (size > 0 && this.#output.file(fd, size) < size) {
        this.warn(path, "became shorter while it was read: filled up with zeros");
      }
    } finally {
      close(fd);
    }
  }

  /**
   * Writes an entry that is neither file nor directory, and that {@linkcode stat} was just called
   * for.
   */
  special(dirfd: number, name: EntryName, path: Uint8Array): void {
    const stat = this.#stat;
    if (stat.type === S_IFSOCK) {
      return this.warn(path, "is a socket, which a tar cannot hold: left out");
    }
    if (this.#linked(path)) return;
    this.#take(path, SPECIAL[stat.type]);
    this.#record.xattrs = exportedXattrsAt(dirfd, name, this.#xattrsOf(path));
    if (stat.isSymlink) {
      const target = tryReadlinkat(dirfd, name);
      if (typeof target === "number") return void this.isThere(target, "readlinkat", path);
      this.#record.link = target;
    }
    this.#put();
    if (stat.links > 1) this.#links.add(stat, path);
  }

  /** Writes the whiteout of the entry `name` of a directory. */
  whiteout(directory: Uint8Array, name: Uint8Array): void {
    this.#marker(directory, WHITEOUT, name.subarray(0, -1));
  }

  /** Writes the opaque mark that hides all the parent's entries in a directory. */
  opaque(directory: Uint8Array): void {
    this.#marker(directory, OPAQUE, NOTHING);
  }

  #marker(directory: Uint8Array, prefix: Uint8Array, name: Uint8Array): void {
    const path = new Uint8Array(directory.length + prefix.length + name.length);
    path.set(directory);
    path.set(prefix, directory.length);
    path.set(name, directory.length + prefix.length);
    const record = this.#record;
    record.path = path;
    record.type = REGULAR;
    record.mode = WHITEOUT_MODE;
    record.uid =
      record.gid =
      record.size =
      record.seconds =
      record.nanos =
        0;
    record.link = NOTHING;
    record.xattrs = NO_XATTRS;
    this.#put();
  }

  /**
   * Writes the link to an inode that was written before under another name; false for any other.
   */
  #linked(path: Uint8Array): boolean {
    if (this.#stat.links < 2) return false;
    this.#output.finishPieces(); // An entry before this one may be the first name.
    const first = this.#links.find(this.#stat);
    if (!first) return false;
    this.#take(path, HARD_LINK);
    this.#record.link = first;
    this.#put();
    return true;
  }

  /** Takes over the result of `statx`. */
  #take(path: Uint8Array, type: number): void {
    const record = this.#record, stat = this.#stat;
    record.path = path;
    record.type = type;
    record.mode = stat.mode & ~S_IFMT;
    record.uid = this.#mapped(this.#uids, "uid", stat.uid, path);
    record.gid = this.#mapped(this.#gids, "gid", stat.gid, path);
    record.size = 0;
    record.seconds = stat.seconds;
    record.nanos = stat.nanos;
    record.link = NOTHING;
    record.major = stat.rdevMajor;
    record.minor = stat.rdevMinor;
    record.xattrs = NO_XATTRS;
  }

  #mapped(map: IdMap, kind: "uid" | "gid", host: number, path: Uint8Array): number {
    const id = map.toContainer(host);
    if (id !== undefined) return id;
    throw new VeneerError(
      "invalid argument",
      `/${decode(path)} belongs to host ${kind} ${host}, which the id map does not hold: ` +
        `change its owner, or give the map that the layer was made with`,
    );
  }

  #xattrsOf(path: Uint8Array): XattrsContext {
    const onUnlisted = () =>
      this.warn(
        path,
        "has more than 64 KiB of names of extended attributes, which the kernel does not list: those of " +
          "user. and trusted. are left out",
      );
    return { isUpper: this.#isUpper, onUnlisted };
  }

  #mapXattrs(): void {
    const record = this.#record;
    try {
      record.xattrs = record.xattrs.map((
        [name, value],
      ) => [name, toTar(name, value, { uids: this.#uids, gids: this.#gids })]);
    } catch (error) {
      if (!(error instanceof UnmappedId)) throw error;
      throw new VeneerError(
        "invalid argument",
        `/${
          decode(record.path)
        }: ${error.message} of the host, which the id map does not hold: remove it, ` +
          `or give the map that the layer was made with`,
      );
    }
  }

  #put(): void {
    const output = this.#output, pax = this.#pax;
    if (this.#record.xattrs.length > 0) this.#mapXattrs();
    if (pax.take(this.#record)) {
      pax.encodeHeader(output.buffer, output.reserve(BLOCK));
      const records = pax.bytes;
      output.write(records);
      output.zeros(padding(records.length));
    }
    encodeHeader(this.#record, output.buffer, output.reserve(BLOCK));
  }
}
