/**
 * Owner, mode, extended attributes and times of a new entry.
 *
 * In that order: a change of owner clears setuid, setgid and capabilities, and every change moves
 * the times. Attributes that creation has set right are not set again: that saves a third of the
 * calls for a small file.
 *
 * @module
 */
import { EOPNOTSUPP, EPERM } from "../../../ffi/errno.ts";
import { clearProtection } from "../../../ffi/inode_flags.ts";
import {
  Times,
  tryFchmod,
  tryFchmodat,
  tryFchown,
  tryFutimens,
  tryLchownat,
  tryLutimensat,
} from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { entryPath, tryFsetxattr, tryLsetxattr } from "../../../ffi/xattr.ts";
import { VeneerError } from "../../base/errors.ts";
import type { IdMaps } from "../../base/id_maps.ts";
import { isOverlayXattr } from "../../tree/whiteouts.ts";
import {
  ACL_ACCESS,
  isOfLayer,
  isTwin,
  removeAttribute,
  removeAttributeAt,
  xattrNames,
} from "../../tree/xattr_names.ts";
import { quoted } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import { SYMBOLIC_LINK } from "../header.ts";
import { toLayer, UnmappedId } from "../mapped_xattrs.ts";

/** setuid, setgid, sticky: the bits that creation or a change of owner may drop. */
const SPECIAL_BITS = 0o7000;

/** Takes warnings; of each kind there is one for a whole tar. */
export type WarnOfKind = (message: string, kind: string) => void;

/** Sets attributes from entries. One per thread. */
export class Attributes {
  readonly #idMaps: IdMaps;
  readonly #warn: WarnOfKind;
  readonly #warned = new Set<string>();
  readonly #times = new Times();
  /** The owner of new files before it is changed (in a directory without setgid). */
  readonly #ownUid = Deno.uid() ?? 0;
  readonly #ownGid = Deno.gid() ?? 0;

  constructor(idMaps: IdMaps, warn: WarnOfKind) {
    this.#idMaps = idMaps;
    this.#warn = warn;
  }

  /**
   * The host's user id for an entry.
   *
   * @throws {VeneerError} `invalid argument` if the map has none
   */
  uid(entry: Entry): number {
    return this.#idMaps.uids.toHost(entry.uid) ?? unmapped(entry, "user", entry.uid);
  }

  /**
   * The host's group id for an entry.
   *
   * @throws {VeneerError} `invalid argument` if the map has none
   */
  gid(entry: Entry): number {
    return this.#idMaps.gids.toHost(entry.gid) ?? unmapped(entry, "group", entry.gid);
  }

  /**
   * For a new regular file, made with the entry's permission bits: all that is left to set.
   *
   * @param inherits whether the directory hands a group or an access list down to new entries
   */
  finishFile(fd: number, entry: Entry, uid: number, gid: number, inherits: boolean): void {
    const foreign = uid !== this.#ownUid || gid !== this.#ownGid;
    if (foreign || inherits) this.#owner(fd, entry, uid, gid);
    // It got an access list from its directory's default one.
    if (inherits) removeAttribute(fd, ACL_ACCESS, entry);
    if (inherits || entry.mode & SPECIAL_BITS) this.#mode(fd, entry);
    if (entry.xattrs.length > 0) this.#xattrs(fd, entry);
    unwrap(tryFutimens(fd, this.#timesOf(entry)), "futimens", entry);
  }

  /**
   * For a directory, new or not: everything but its times, which later entries in it would change
   * again.
   */
  finishDirectory(fd: number, entry: Entry, isNew: boolean, inherits: boolean): void {
    const uid = this.uid(entry), gid = this.gid(entry);
    const foreign = uid !== this.#ownUid || gid !== this.#ownGid;
    if (!isNew) clearProtection(fd);
    if (foreign || !isNew || inherits) this.#owner(fd, entry, uid, gid);
    if (!isNew || inherits) this.#strip(fd, entry);
    if (!isNew || inherits || entry.mode & SPECIAL_BITS) this.#mode(fd, entry);
    if (entry.xattrs.length > 0) this.#xattrs(fd, entry);
  }

  /** For a new link, device or fifo, by name: it cannot be opened without consequences. */
  finishNode(dirfd: number, entry: Entry, inherits: boolean): void {
    const { name } = entry;
    const uid = this.uid(entry), gid = this.gid(entry);
    if (uid !== this.#ownUid || gid !== this.#ownGid || inherits) {
      unwrap(tryLchownat(dirfd, name, uid, gid), "fchownat", entry);
    }
    // A link has no mode; and fchmodat would follow it.
    if (entry.type !== SYMBOLIC_LINK && (inherits || entry.mode & SPECIAL_BITS)) {
      if (inherits) removeAttributeAt(dirfd, name, ACL_ACCESS);
      unwrap(tryFchmodat(dirfd, name, entry.mode), "fchmodat", entry);
    }
    if (entry.xattrs.length > 0) {
      const path = entryPath(dirfd, name);
      for (const [key, value] of entry.xattrs) {
        this.#xattr(entry, key, value, (mapped) => tryLsetxattr(path, key, mapped));
      }
    }
    unwrap(tryLutimensat(dirfd, name, this.#timesOf(entry)), "utimensat", entry);
  }

  #owner(fd: number, entry: Entry, uid: number, gid: number): void {
    unwrap(tryFchown(fd, uid, gid), "fchown", entry);
  }

  #mode(fd: number, entry: Entry): void {
    unwrap(tryFchmod(fd, entry.mode), "fchmod", entry);
  }

  #timesOf(entry: Entry): Times {
    return this.#times.set(
      entry.accessSeconds,
      entry.accessNanos,
      entry.seconds,
      entry.nanos,
    );
  }

  #xattrs(fd: number, entry: Entry): void {
    for (const [key, value] of entry.xattrs) {
      this.#xattr(entry, key, value, (mapped) => tryFsetxattr(fd, key, mapped));
    }
  }

  #xattr(
    entry: Entry,
    key: string,
    value: Uint8Array<ArrayBuffer>,
    set: (mapped: Uint8Array<ArrayBuffer>) => number,
  ): void {
    if (isOverlayXattr(key) || isTwin(key)) return;
    const result = set(this.#mapped(entry, key, value));
    // EPERM: user. attributes on links and devices, which no file system here takes.
    if (result === -EOPNOTSUPP || result === -EPERM) {
      return this.warnOnce(
        `${key.slice(0, key.indexOf("."))} xattrs ${result}`,
        `extended attribute ${quoted(key)} of ${
          quoted(entry.text)
        } and others like it are left out: ` +
          `the file system does not store them`,
      );
    }
    unwrap(result, `fsetxattr ${key}`, entry);
  }

  #mapped(entry: Entry, key: string, value: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    try {
      return toLayer(key, value, this.#idMaps);
    } catch (error) {
      if (!(error instanceof UnmappedId)) throw error;
      return unmapped(entry, error.kind, error.id);
    }
  }

  /** Gives a warning of this kind, the first time. */
  warnOnce(kind: string, message: string): void {
    if (this.#warned.has(kind)) return;
    this.#warned.add(kind);
    this.#warn(message, kind);
  }

  /**
   * Removes attributes that a directory has and its entry does not; overlay's and the kernel's own
   * stay.
   */
  #strip(fd: number, entry: Entry): void {
    const { names, isWhole } = xattrNames(fd);
    if (!isWhole) {
      this.warnOnce(
        "unlisted xattrs",
        `${
          quoted(entry.text)
        } has more than 64 KiB of names of extended attributes, which the kernel ` +
          `does not list: those of user. and trusted. stay on it, and on others like it`,
      );
    }
    for (const key of names) {
      if (isOfLayer(key)) removeAttribute(fd, key, entry);
    }
  }
}

function unmapped(entry: Entry, kind: string, id: number): never {
  throw new VeneerError(
    "invalid argument",
    `tar: entry ${
      quoted(entry.text)
    } at byte ${entry.offset}: its ${kind} id ${id} is not in the ` +
      `store's id map; extend the map to cover it`,
  );
}
