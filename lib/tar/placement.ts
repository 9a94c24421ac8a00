/**
 * Where an entry goes: the directory above it, as a descriptor that cannot be outside the layer.
 *
 * The kernel resolves every path from the layer's root with `RESOLVE_IN_ROOT`: absolute links and `..` in
 * them end at that root. Descriptors of the directories used last are kept; most entries lie in the same
 * directory as the one before, which costs one comparison of bytes.
 *
 * Two rules keep the cache true: whoever removes or replaces a directory or a link calls
 * {@linkcode Placement.forget}, and a directory reached through a link is not kept beyond the next one.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { EEXIST, ELOOP, ENOENT, ENOTDIR, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  O_DIRECTORY,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  tryOpenat2,
} from "../../ffi/files.ts";
import { fstat, Stat } from "../../ffi/stat.ts";
import { readlinkat, tryLchownat, tryMkdirat } from "../../ffi/tree.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { fgetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../errors.ts";
import { ACL_DEFAULT } from "./attributes.ts";
import { quoted } from "./bad_tar.ts";
import { type Entry, LONGEST_PATH, normalise } from "./entry.ts";

/** How many directories stay open beside the current one: more than a walk is ever deep. */
const MOST_OPEN = 64;
/** As many links as the kernel follows in one path (path_resolution(7)). */
const MOST_LINKS = 40;
const S_ISGID = 0o2000;
const IMPLIED_MODE = 0o755;

/** An open directory of the layer. */
export interface Directory {
  readonly fd: number;
  /** The inode's number: with a name, it tells an entry from every other one. */
  readonly inode: bigint;
  /** Whether it hands its group or an access list down to what is made in it. */
  readonly inherits: boolean;
  /** Whether no link lies on its path. */
  readonly direct: boolean;
  /** The last job of the worker that uses it; see `crew.ts`. */
  lastJob: number;
}

/** What the applier does for the placement. */
export interface PlacementHooks {
  /** A non-directory, `name` in `dirfd`, is where a directory must be: true where that has been put right. */
  obstacle(dirfd: number, name: EntryName): boolean;
  /** A directory that no entry announced was made. */
  implied(dirfd: number, name: EntryName): void;
  /** Everything entries so far ask for must be on disk: a path is resolved that could depend on it. */
  settle(): void;
  /** Closes a descriptor when nobody uses it any more. */
  release(directory: Directory): void;
}

/** The directories of one layer. */
export class Placement {
  readonly #root: number;
  readonly #owner: { readonly uid: number; readonly gid: number };
  readonly #hooks: PlacementHooks;
  /** By path; the one used last is at the end. */
  readonly #open = new Map<string, Directory>();
  readonly #stat = new Stat();
  /** The directory of the last entry and its path. */
  #last: Directory | undefined;
  readonly #lastPath = new Uint8Array(LONGEST_PATH);
  #lastLength = 0;

  /**
   * @param root  the layer's root directory; it stays the caller's
   * @param owner of directories that must be there but have no entry
   */
  constructor(
    root: number,
    owner: { readonly uid: number; readonly gid: number },
    hooks: PlacementHooks,
  ) {
    this.#root = root;
    this.#owner = owner;
    this.#hooks = hooks;
  }

  /** The directory that an entry is in; made, with those above it, where it is missing. */
  parentOf(entry: Entry): Directory {
    const length = Math.max(0, entry.nameStart - 1);
    if (this.#last !== undefined && this.#lastLength === length) {
      let i = 0;
      while (i < length && entry.path[i] === this.#lastPath[i]) i++;
      if (i === length) return this.#last;
    }
    const directory = this.#lookUp(decode(entry.path.subarray(0, length)));
    this.#lastPath.set(entry.path.subarray(0, length));
    this.#lastLength = length;
    return this.#last = directory;
  }

  /** Keeps a directory that was just made or opened at a path without links. */
  remember(path: string, fd: number): Directory {
    const directory = this.#describe(fd, true);
    const former = this.#open.get(path);
    if (former !== undefined) this.#drop(path, former);
    this.#keep(path, directory);
    return directory;
  }

  /** Closes every descriptor: paths may lead elsewhere from now on. */
  forget(): void {
    if (this.#last !== undefined && !this.#last.direct) this.#hooks.release(this.#last);
    this.#last = undefined;
    for (const directory of this.#open.values()) this.#hooks.release(directory);
    this.#open.clear();
  }

  /** Opens the directory at a path inside the layer, without making anything; raw. The caller closes it. */
  tryOpen(path: string, flags = 0): number {
    return tryOpenat2(
      this.#root,
      path === "" ? "." : path,
      O_RDONLY | O_DIRECTORY | flags,
      RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    );
  }

  #lookUp(path: string): Directory {
    const open = this.#open.get(path);
    if (open !== undefined) {
      this.#open.delete(path);
      this.#open.set(path, open);
      this.#leaveLast();
      return open;
    }
    this.#leaveLast();
    const fd = tryOpenat2(
      this.#root,
      path === "" ? "." : path,
      O_RDONLY | O_DIRECTORY,
      RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    );
    if (fd >= 0) return this.#keep(path, this.#describe(fd, true));
    if (path === "") unwrap(fd, "openat2", "./");
    this.#hooks.settle();
    this.#leaveLast();
    return this.#describe(this.#make(path, MOST_LINKS), false);
  }

  /** The last directory is about to be another one: one that is not kept is done with. */
  #leaveLast(): void {
    if (this.#last !== undefined && !this.#last.direct) this.#hooks.release(this.#last);
    this.#last = undefined;
  }

  #keep(path: string, directory: Directory): Directory {
    this.#open.set(path, directory);
    if (this.#open.size > MOST_OPEN) {
      for (const [oldest, other] of this.#open) {
        if (other === this.#last) continue;
        this.#drop(oldest, other);
        break;
      }
    }
    return directory;
  }

  #drop(path: string, directory: Directory): void {
    this.#open.delete(path);
    if (directory === this.#last) this.#last = undefined;
    this.#hooks.release(directory);
  }

  #describe(fd: number, direct: boolean): Directory {
    const stat = fstat(fd, this.#stat);
    const inherits = (stat.mode & S_ISGID) !== 0 || fgetxattr(fd, ACL_DEFAULT) !== undefined;
    return { fd, inode: stat.inode, inherits, direct, lastJob: 0 };
  }

  /** Opens the directory at a path, making what is missing of it. */
  #make(path: string, links: number): number {
    const components = path.split("/");
    let above = this.tryOpen("");
    unwrap(above, "openat2", "./");
    for (let i = 1; i <= components.length; i++) {
      const prefix = components.slice(0, i).join("/");
      const name = entryName(components[i - 1]);
      try {
        const next = this.#step(above, prefix, name, links);
        close(above);
        above = next;
      } catch (error) {
        close(above);
        throw error;
      }
    }
    return above;
  }

  /** Opens one directory more, `name` in `above` which is at `path`, making it where it is missing. */
  #step(above: number, path: string, name: EntryName, links: number): number {
    let fd = this.tryOpen(path);
    if (fd === -ENOTDIR && this.#hooks.obstacle(above, name)) fd = this.tryOpen(path);
    if (fd === -ENOENT) {
      const made = tryMkdirat(above, name, IMPLIED_MODE);
      if (made === -EEXIST) return this.#makeTarget(above, path, name, links);
      unwrap(made, "mkdirat", path);
      unwrap(tryLchownat(above, name, this.#owner.uid, this.#owner.gid), "fchownat", path);
      this.#hooks.implied(above, name);
      fd = this.tryOpen(path);
    }
    if (fd === -ENOTDIR || fd === -ELOOP) {
      throw new VeneerError(
        "invalid argument",
        `tar: ${quoted(path)} is no directory, and an entry lies below it`,
      );
    }
    return unwrap(fd, "openat2", path);
  }

  /** `path` is a link to nothing: makes the directory it names, inside the layer, and opens it. */
  #makeTarget(above: number, path: string, name: EntryName, links: number): number {
    if (links === 0) throw new SyscallError("openat2", ELOOP, path);
    const target = readlinkat(above, name);
    const beside = path.slice(0, path.lastIndexOf("/") + 1);
    return this.#make(normalised(target.startsWith("/") ? target : beside + target), links - 1);
  }
}

/** A link's target as a path from the root, at which `..` stays, as it does for the kernel. */
function normalised(target: string): string {
  const raw = encode(target);
  const into = new Uint8Array(LONGEST_PATH + 1);
  return decode(into.subarray(0, normalise(raw, raw.length, into, "stay")));
}
