/**
 * Whiteouts of a tar turned into the form of the layer they are applied to.
 *
 * The rule of the image format (OCI image-spec, "Whiteouts"): a whiteout hides an entry of the
 * *parent*, never one of the same tar, whichever comes first. So a directory that the tar both
 * whites out and makes hides all the parent's entries in it: it is opaque. A whiteout that hides
 * nothing is not written: a union mount shows one in a directory that it need not merge as a name
 * without an entry.
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
import { fstat, Stat, tryStatat } from "../../../ffi/stat.ts";
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
import { type RemovalOptions, removeEntriesOf, removeEntry } from "../../tree/remove_tree.ts";
import { aufsWhiteoutOf, BRANCH_FORMS, isOverlayWhiteout, type Lookup } from "../../tree/branch.ts";
import type { Parents } from "../../tree/parents.ts";
import { badTar } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import { EntrySet } from "./entry_set.ts";
import type { Directory, KnownDirectories } from "./known_directories.ts";
import { makeAnew, type Owner } from "./plain_directory.ts";

type Name = EntryName;

/** The kinds of entries whose path holds a `.wh.`. */
export type WhiteoutKind = "whiteout" | "opaque" | "metadata";

const PREFIX = encode(WHITEOUT_PREFIX);
const META_PREFIX = encode(WHITEOUT_META_PREFIX);
const OPAQUE = entryName(OPAQUE_MARKER);
const NO_NAME = Uint8Array.of(0);

/**
 * `AUFS_MAX_NAMELEN` of `linux/aufs_type.h`: two prefixes of whiteouts, a dot and four digits below
 * `NAME_MAX`.
 */
const AUFS_LONGEST_NAME = NAME_MAX - 2 * PREFIX.length - 1 - 4;
/** The mode of the whiteouts that aufs itself makes (`WH_MASK` of `fs/aufs/whiteout.c`). */
const AUFS_MARK_MODE = 0o444;

const scratch = new Stat();

/**
 * The kind of an entry whose {@linkcode Entry.whiteoutStart} is not -1.
 *
 * @throws {VeneerError} `invalid argument` if it names nothing that could be hidden
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

/** The target of a whiteout entry, whose own name may be longer than any entry's. */
export function targetOf({ path, nameStart, pathLength }: Entry): Name {
  return entryName(path.subarray(nameStart + PREFIX.length, pathLength));
}

/** How one form writes deletions into a layer's own directory. */
interface Marks {
  /** The longest name that such a layer can open once it is mounted, in bytes. */
  readonly longestName: number;
  /** Whether an entry's whiteout could be there beside it, and must be lifted before it is made. */
  readonly besideEntries: boolean;
  /** Whether a name is the form's own and of no layer. */
  isOwn(name: Name): boolean;
  /** Hides a name that the directory has nothing of. */
  place(dirfd: number, name: Name): void;
  lift(dirfd: number, name: Name): boolean;
  makeOpaque(fd: number): void;
}

/** Character devices 0:0 and opaque attributes (`Documentation/filesystems/overlayfs.rst`). */
const OVERLAY: Marks = {
  longestName: NAME_MAX,
  besideEntries: false,
  isOwn: () => false,
  place(dirfd, name) {
    const make = () => tryMknodat(dirfd, name, S_IFCHR, 0n);
    unwrap(liftingProtection(dirfd, make), "mknodat", name);
  },
  lift(dirfd, name) {
    if (tryStatat(dirfd, name, scratch) < 0 || !isOverlayWhiteout(scratch)) return false;
    unwrap(liftingProtection(dirfd, () => tryUnlinkat(dirfd, name), name), "unlinkat", name);
    return true;
  },
  makeOpaque(fd) {
    const mark = () => tryFsetxattr(fd, OVERLAY_OPAQUE_XATTR, encode("y"));
    unwrap(liftingProtection(fd, mark), `fsetxattr ${OVERLAY_OPAQUE_XATTR}`);
  },
};

/** Files `.wh.NAME` and `.wh..wh..opq`; but aufs looks at `.wh.NAME` before a `NAME` beside it. */
const AUFS: Marks = {
  longestName: AUFS_LONGEST_NAME,
  besideEntries: true,
  isOwn: (name) => startsWith(name, META_PREFIX) && !startsWith(name, OPAQUE),
  place(dirfd, name) {
    const whiteout = aufsWhiteoutOf(name);
    // Aufs has no way to hide such a name, as it has none to open it.
    if (whiteout !== undefined) makeEmpty(dirfd, whiteout);
  },
  lift(dirfd, name) {
    const whiteout = aufsWhiteoutOf(name);
    if (whiteout === undefined) return false;
    const result = liftingProtection(dirfd, () => tryUnlinkat(dirfd, whiteout), whiteout);
    if (result === -ENOENT) return false;
    return unwrap(result, "unlinkat", whiteout) === 0;
  },
  makeOpaque: (fd) => makeEmpty(fd, OPAQUE),
};

/**
 * Makes an empty file. An existing entry of any type serves as well, and is never opened, as it
 * could be a fifo.
 */
function makeEmpty(dirfd: number, name: Name): void {
  const make = () => tryOpenat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, AUFS_MARK_MODE);
  const fd = liftingProtection(dirfd, make);
  if (fd !== -EEXIST) close(unwrap(fd, "openat", name));
}

const MARKS: Readonly<Record<WhiteoutForm, Marks | undefined>> = {
  overlay: OVERLAY,
  aufs: AUFS,
  none: undefined,
};

/** The subject of {@linkcode Whiteouts}. */
export interface WhiteoutContext {
  readonly form: WhiteoutForm;
  /** The parents of the layer; left out if the layer is a whole tree, or has no parent. */
  readonly parents: Parents | undefined;
  readonly directories: KnownDirectories;
  /** The owner of directories without an entry. */
  readonly owner: Owner;
  /** Called before anything that is there is looked at or removed; see `Placement`. */
  readonly drain: () => void;
}

/**
 * The whiteouts of one tar: an entry of the layer itself is removed, unless this tar made it, and
 * entries of the parents are hidden.
 */
export class Whiteouts {
  readonly longestName: number;
  readonly besideEntries: boolean;
  readonly #context: WhiteoutContext;
  readonly #marks: Marks | undefined;
  readonly #made = new EntrySet();
  /**
   * Entries (and directories, as entries without a name) below which everything is of this tar
   * since it hid them. Looking again at each whiteout would cost the square of a tar's length.
   */
  readonly #hidden = new EntrySet();
  readonly #stat = new Stat();
  readonly #removal: RemovalOptions;

  constructor(context: WhiteoutContext) {
    const { form, directories, owner } = context;
    const marks = MARKS[form];
    this.#context = context;
    this.#marks = marks;
    this.longestName = marks?.longestName ?? NAME_MAX;
    this.besideEntries = marks?.besideEntries ?? false;
    this.#removal = {
      keep: (directory, name) =>
        this.#made.has(directories.identity(directory), name) || (marks?.isOwn(name) ?? false),
      // Its entry is hidden, and entries of this tar in it only imply it.
      onLeft: (fd) => {
        makeAnew(fd, owner);
        directories.times.drop(fstat(fd, this.#stat).inode);
      },
    };
  }

  /** Takes note of an entry of this tar. */
  made(directory: bigint, name: Name): void {
    this.#made.add(directory, name);
  }

  /**
   * Hides the entry of a name that the parents have.
   *
   * @returns whether paths may lead elsewhere now
   */
  hide(directory: Directory, target: Name): boolean {
    const { fd, identity } = directory;
    if (this.#hidden.has(identity, NO_NAME) || this.#hidden.has(identity, target)) return false;
    this.#context.drain();
    const led = tryStatat(fd, target, this.#stat) === 0 && leadsOn(this.#stat);
    removeEntry(fd, target, this.#removal);
    this.#hidden.add(identity, target);
    return this.#cover(directory, target) || led;
  }

  /** Hides all that the parents have in a directory; the same result. */
  hideAll(directory: Directory): boolean {
    const { fd, identity, path } = directory, { parents } = this.#context;
    if (this.#hidden.has(identity, NO_NAME)) return false;
    this.#context.drain();
    removeEntriesOf(fd, this.#removal);
    this.#hidden.add(identity, NO_NAME);
    if (parents === undefined) return true;
    if (path !== "") {
      if (parents.has(path)) this.#makeOpaque(fd);
    } else {
      // No union mount looks whether the root itself is opaque.
      for (const name of parents.names(path)) this.#cover(directory, name);
    }
    return true;
  }

  /**
   * Hides the parents' entry of a name, if there is one; returns whether it could have been part of
   * a path.
   */
  #cover({ fd, path }: Directory, target: Name): boolean {
    const { parents } = this.#context, stat = this.#stat;
    if (parents?.find(path, target, stat) === undefined) return false;
    const leads = leadsOn(stat), isDirectory = stat.isDirectory;
    const found = tryStatat(fd, target, stat);
    if (found === -ENOENT) this.#marks!.place(fd, target);
    else {
      // An entry of this tar hides the parents' entry already, unless both are directories, which
      // merge.
      unwrap(found, "statx", target);
      if (isDirectory && stat.isDirectory) {
        withDirectory(fd, target, (directory) => this.#makeOpaque(directory));
      }
    }
    return leads;
  }

  /** The layer's own entry of a name. */
  look(dirfd: number, name: Name): Lookup {
    const { form } = this.#context;
    if (form !== "none") return BRANCH_FORMS[form].lookup(dirfd, name, this.#stat);
    return tryStatat(dirfd, name, this.#stat) === 0 ? "present" : "absent";
  }

  /** Takes the whiteout of a name away; whether there was one. */
  lift(dirfd: number, name: Name): boolean {
    return this.#marks?.lift(dirfd, name) ?? false;
  }

  /**
   * Makes an open directory opaque that was made in place of another entry, so that it hides the
   * parents' entries in it.
   *
   * @param path the real path of the directory that it is in
   */
  replace(path: string, name: Name, fd: number): void {
    const found = this.#context.parents?.find(path, name, this.#stat);
    if (found !== undefined && this.#stat.isDirectory) this.#makeOpaque(fd);
  }

  #makeOpaque(fd: number): void {
    this.#marks!.makeOpaque(fd);
    this.#context.parents!.forget();
  }
}

/** Whether a path could lead over such an entry. */
function leadsOn({ isDirectory, isSymlink }: Stat): boolean {
  return isDirectory || isSymlink;
}

/** Runs `use` on the directory `name`, if it is one. */
function withDirectory(dirfd: number, name: Name, use: (fd: number) => void): void {
  withFd(openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), use);
}
