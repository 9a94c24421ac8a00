/**
 * Whiteouts of a tar turned into the form of the layer they are applied to.
 *
 * The rule of the image format (OCI image-spec, "Whiteouts"): a whiteout hides what the *parent* has, never an
 * entry of the same tar, whichever of the two comes first. So a directory that the tar both whites out and
 * makes is one that hides all the parent has below it: an opaque one.
 *
 * @module
 */
import { DOT, encode } from "../../../ffi/cstring.ts";
import { type EntryName, entryName, NAME_MAX } from "../../../ffi/entry_name.ts";
import { EEXIST, ENOENT } from "../../../ffi/errno.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openat,
  tryOpenat,
  withFd,
} from "../../../ffi/files.ts";
import { Stat, tryStatat } from "../../../ffi/stat.ts";
import { S_IFCHR, tryMknodat, tryUnlinkat } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { tryFsetxattr } from "../../../ffi/xattr.ts";
import {
  OPAQUE_MARKER,
  OVERLAY_OPAQUE_XATTR,
  WHITEOUT_META_PREFIX,
  WHITEOUT_PREFIX,
  type WhiteoutForm,
} from "../../tree/whiteouts.ts";
import { liftingProtection } from "../../tree/protection.ts";
import { removeEntriesOf, removeEntry } from "../../tree/remove_tree.ts";
import { aufsWhiteoutOf, isOverlayWhiteout } from "../../tree/branch.ts";
import { badTar } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import { EntrySet } from "./entry_set.ts";
import type { Directory } from "./placement.ts";

type Name = EntryName;

/** What an entry whose path holds a `.wh.` is. */
export type WhiteoutKind = "whiteout" | "opaque" | "metadata";

const PREFIX = encode(WHITEOUT_PREFIX);
const META_PREFIX = encode(WHITEOUT_META_PREFIX);
const OPAQUE = entryName(OPAQUE_MARKER);
const NO_NAME = Uint8Array.of(0);

/** `AUFS_MAX_NAMELEN` of `linux/aufs_type.h`: two prefixes of whiteouts, a dot and four digits below `NAME_MAX`. */
const AUFS_LONGEST_NAME = NAME_MAX - 2 * PREFIX.length - 1 - 4;

/**
 * What an entry is whose {@linkcode Entry.whiteoutStart} is not -1.
 *
 * @throws {VeneerError} `invalid argument` where it names nothing that could be hidden
 */
export function classify(entry: Entry): WhiteoutKind {
  const { path, whiteoutStart: start, nameStart } = entry;
  const component = path.subarray(start, entry.pathLength + 1);
  if (startsWith(component, META_PREFIX)) {
    return start === nameStart && component.length === OPAQUE.length &&
        startsWith(component, OPAQUE)
      ? "opaque"
      : "metadata";
  }
  if (start !== nameStart) {
    throw badTar(entry.offset, "it lies below a whiteout, which is not a directory", entry.text);
  }
  const target = component.subarray(PREFIX.length);
  const isDots = target[0] === DOT &&
    (target.length === 2 || target.length === 3 && target[1] === DOT);
  if (target.length === 1 || isDots) {
    throw badTar(entry.offset, "it is a whiteout of an invalid name ('', '.' or '..')", entry.text);
  }
  return "whiteout";
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && prefix.every((byte, i) => bytes[i] === byte);
}

/** How one form writes whiteouts. */
export interface Whiteouts {
  /**
   * Writes down that the parent's entry is hidden.
   *
   * @returns false where the entry is to be made as the file that it is
   */
  hide(directory: Directory, target: Name): boolean;
  /** The longest name that such a layer can open once it is mounted, in bytes. */
  readonly longestName: number;
  /** Writes down that all the parent has in a directory is hidden; the same result. */
  hideAll(directory: Directory): boolean;
  /** Whether an entry's whiteout could be there beside it, and must be lifted before it is made. */
  readonly besideEntries: boolean;
  /** Takes the whiteout of `name` away; whether there was one, so that a directory must become opaque. */
  lift(dirfd: number, name: Name): boolean;
  /** Marks an open directory. */
  makeOpaque(fd: number): void;
  /** Takes note of an entry of this tar. */
  made(directory: bigint, name: Name): void;
}

/** @param drain called before anything that is there is looked at or removed; see `Placement` */
export function whiteoutsIn(form: WhiteoutForm, drain: () => void): Whiteouts {
  switch (form) {
    case "overlay":
      return new OverlayWhiteouts(drain);
    case "aufs":
      return new AufsWhiteouts(drain);
    case "none":
      return new Removals(drain);
  }
}

/** The target of a whiteout entry. */
export function targetOf(entry: Entry): Name {
  return entryName(entry.name.subarray(PREFIX.length, -1));
}

/** Runs `use` on the directory `name`, if it is one. */
function withDirectory(dirfd: number, name: Name, use: (fd: number) => void): void {
  withFd(openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), use);
}

/** Character devices 0:0 and opaque attributes (`Documentation/filesystems/overlayfs.rst`). */
class OverlayWhiteouts implements Whiteouts {
  readonly longestName = NAME_MAX;
  readonly besideEntries = false;
  readonly #drain: () => void;
  readonly #stat = new Stat();

  constructor(drain: () => void) {
    this.#drain = drain;
  }

  hide({ fd }: Directory, target: Name): boolean {
    this.#drain();
    const result = liftingProtection(fd, () => tryMknodat(fd, target, S_IFCHR, 0n));
    if (result !== -EEXIST) return unwrap(result, "mknodat", target) === 0;
    // What this tar put there hides the parent's entry already; but directories merge.
    unwrap(tryStatat(fd, target, this.#stat), "statx", target);
    if (this.#stat.isDirectory) {
      withDirectory(fd, target, (directory) => this.makeOpaque(directory));
    }
    return true;
  }

  hideAll({ fd }: Directory): boolean {
    this.makeOpaque(fd);
    return true;
  }

  lift(dirfd: number, name: Name): boolean {
    if (tryStatat(dirfd, name, this.#stat) < 0 || !isOverlayWhiteout(this.#stat)) return false;
    unwrap(liftingProtection(dirfd, () => tryUnlinkat(dirfd, name), name), "unlinkat", name);
    return true;
  }

  makeOpaque(fd: number): void {
    const mark = () => tryFsetxattr(fd, OVERLAY_OPAQUE_XATTR, encode("y"));
    unwrap(liftingProtection(fd, mark), `fsetxattr ${OVERLAY_OPAQUE_XATTR}`);
  }

  made(): void {}
}

/** Files `.wh.NAME` and `.wh..wh..opq`, kept; but aufs looks at `.wh.NAME` before a `NAME` beside it. */
class AufsWhiteouts implements Whiteouts {
  readonly longestName = AUFS_LONGEST_NAME;
  besideEntries = false;
  readonly #drain: () => void;
  readonly #stat = new Stat();

  constructor(drain: () => void) {
    this.#drain = drain;
  }

  hide({ fd }: Directory, target: Name): boolean {
    this.#drain();
    this.besideEntries = true;
    const result = tryStatat(fd, target, this.#stat);
    if (result === -ENOENT) return false;
    unwrap(result, "statx", target);
    if (this.#stat.isDirectory) {
      withDirectory(fd, target, (directory) => this.makeOpaque(directory));
    }
    return true;
  }

  hideAll(): boolean {
    return false;
  }

  lift(dirfd: number, name: Name): boolean {
    const whiteout = aufsWhiteoutOf(name);
    if (whiteout === undefined) return false;
    const result = liftingProtection(dirfd, () => tryUnlinkat(dirfd, whiteout), whiteout);
    if (result === -ENOENT) return false;
    return unwrap(result, "unlinkat", whiteout) === 0;
  }

  makeOpaque(fd: number): void {
    // O_EXCL: whatever is there already (never open what could be a fifo) is a marker too.
    const marker = tryOpenat(fd, OPAQUE, O_WRONLY | O_CREAT | O_EXCL, 0o644);
    if (marker !== -EEXIST) close(unwrap(marker, "openat", OPAQUE));
  }

  made(): void {}
}

/** No form at all: what is whited out is removed, but for what this tar made. */
class Removals implements Whiteouts {
  readonly longestName = NAME_MAX;
  readonly besideEntries = false;
  readonly #drain: () => void;
  readonly #made = new EntrySet();
  /**
   * Entries, and as those of no name directories, below which all is of this tar since it hid them: nothing else
   * comes there any more. To look again at each whiteout would cost the square of a tar's length.
   */
  readonly #hidden = new EntrySet();

  constructor(drain: () => void) {
    this.#drain = drain;
  }

  readonly #isMade = (directory: bigint, name: Name) => this.#made.has(directory, name);

  hide({ fd, inode }: Directory, target: Name): boolean {
    if (this.#hidden.has(inode, NO_NAME) || this.#hidden.has(inode, target)) return true;
    this.#drain();
    removeEntry(fd, target, { keep: this.#isMade });
    this.#hidden.add(inode, target);
    return true;
  }

  hideAll({ fd, inode }: Directory): boolean {
    if (this.#hidden.has(inode, NO_NAME)) return true;
    this.#drain();
    removeEntriesOf(fd, { keep: this.#isMade });
    this.#hidden.add(inode, NO_NAME);
    return true;
  }

  lift(): boolean {
    return false;
  }

  makeOpaque(): void {}

  made(directory: bigint, name: Name): void {
    this.#made.add(directory, name);
  }
}
