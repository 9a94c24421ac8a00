/**
 * The place of an entry: the directory above it, as a descriptor that cannot be outside the layer.
 *
 * A directory is opened from the layer's root by its *real path*, on which no link lies; the kernel
 * sees to both (`RESOLVE_IN_ROOT`, `RESOLVE_NO_SYMLINKS`). Descriptors of the directories used last
 * are kept by that path; most entries lie in the same directory as the one before, which costs one
 * comparison of bytes.
 *
 * A path through links, or to a directory that the layer itself does not have, is first turned into
 * a real one, component by component (`walk.ts`), and this way is kept as well. Directories of the
 * parents on it are copied up. Both caches are valid until a directory or a link is removed or
 * replaced, after which {@linkcode Placement.forget} must be called.
 *
 * @module
 */
import { decode } from "../../../ffi/cstring.ts";
import { type EntryName, nameText } from "../../../ffi/entry_name.ts";
import { EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR } from "../../../ffi/errno.ts";
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  tryOpenat2,
  withFd,
} from "../../../ffi/files.ts";
import { fstat, Stat } from "../../../ffi/stat.ts";
import { S_ISGID, tryMkdirat, tryReadlinkat } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { fgetxattr } from "../../../ffi/xattr.ts";
import { copyDirectoryUp } from "../../tree/copy_up.ts";
import type { Parents } from "../../tree/parents.ts";
import { liftingProtection } from "../../tree/protection.ts";
import { ACL_DEFAULT } from "../../tree/xattr_names.ts";
import { quoted } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import { LONGEST_PATH, PathError } from "../read/layer_path.ts";
import type { Whiteouts } from "./apply_whiteouts.ts";
import type { Moments } from "./directory_times.ts";
import type { Directory, KnownDirectories } from "./known_directories.ts";
import { costOf, LinkBudget } from "./link_budget.ts";
import { makePlain, type Owner, PLAIN_MODE } from "./plain_directory.ts";
import { Walk, type Way, Ways } from "./walk.ts";

/** How many directories stay open beside the current one: more than a walk is ever deep. */
const MOST_OPEN = 64;

/** A directory that was opened for the caller to close. */
export interface Opened {
  readonly fd: number;
  readonly path: string;
}

/** The subject of a placement. */
export interface PlacementContext {
  /** The layer's root directory, open; it stays the caller's. */
  readonly root: number;
  /** The owner of directories that are needed but have no entry. */
  readonly owner: Owner;
  /** The parents of the layer; left out if the layer is a whole tree, or has no parent. */
  readonly parents: Parents | undefined;
  readonly whiteouts: Pick<Whiteouts, "look" | "lift" | "replace">;
  readonly directories: KnownDirectories;
  /** A directory that no entry announced was made. */
  implied(directory: bigint, name: EntryName): void;
  /**
   * Everything entries so far ask for must be on disk: a path is resolved that could depend on it.
   */
  drain(): void;
  /** Closes a descriptor after its last use. */
  release(directory: Directory): void;
}

/** The directories of one layer. */
export class Placement {
  readonly #context: PlacementContext;
  /** By real path; the one used last is at the end. */
  readonly #open = new Map<string, Directory>();
  readonly #ways = new Ways();
  /** The paths of links of the parents that ways lead over. */
  readonly #links = new Set<string>();
  readonly #stat = new Stat();
  readonly #foundStat = new Stat();
  readonly #inodeStat = new Stat();
  /** The directory of the last entry, and its path as the tar writes it. */
  #last: Directory | undefined;
  readonly #lastPath = new Uint8Array(LONGEST_PATH);
  #lastLength = 0;
  /** The cost of links in that path, in components. */
  #lastCost = 0;
  readonly #budget = new LinkBudget();
  /** The offset of the last entry that paid for its path: one that is done over has paid. */
  #paidOffset = -1;

  constructor(context: PlacementContext) {
    this.#context = context;
  }

  /**
   * The directory that an entry is in: copied up from the parents, or made, with those above it, if
   * the layer itself has none.
   *
   * @throws {PathError} for a path through more links than are followed, or than the tar has paid
   * for
   */
  parentOf(entry: Entry): Directory {
    const directory = this.#find(entry, true);
    if (typeof directory !== "number") return directory;
    throw refused(decode(entry.parentPath), directory);
  }

  /** The same, if the layer or its parents have it: nothing is made. */
  existingParentOf(entry: Entry): Directory | undefined {
    const directory = this.#find(entry, false);
    if (typeof directory !== "number") return directory;
    if (directory === -ENOENT || directory === -ENOTDIR) return undefined;
    throw refused(decode(entry.parentPath), directory);
  }

  #find(entry: Entry, makes: boolean): Directory | number {
    const directory = this.#lookUpLast(entry, makes);
    if (typeof directory !== "number" && entry.offset > this.#paidOffset) {
      this.#paidOffset = entry.offset;
      if (this.#lastCost > 0) this.#budget.spend(this.#lastCost, entry.offset);
    }
    return directory;
  }

  #lookUpLast(entry: Entry, makes: boolean): Directory | number {
    const length = Math.max(0, entry.nameStart - 1);
    if (this.#last !== undefined && this.#lastLength === length) {
      let i = 0;
      while (i < length && entry.path[i] === this.#lastPath[i]) i++;
      if (i === length) return this.#last;
    }
    const directory = this.#lookUp(decode(entry.path.subarray(0, length)), makes);
    if (typeof directory === "number") return directory;
    this.#lastPath.set(entry.path.subarray(0, length));
    this.#lastLength = length;
    return this.#last = directory;
  }

  /** Keeps a directory that was just made or opened, `name` in `parent`. */
  remember(parent: Directory, name: string, fd: number): Directory {
    const path = childPath(parent.path, name);
    const directory = this.#describe(path, fd);
    const former = this.#open.get(path);
    if (former !== undefined) this.#drop(path, former);
    return this.#keep(directory);
  }

  /** Closes every descriptor: paths may lead elsewhere from now on. */
  forget(): void {
    this.#last = undefined;
    for (const directory of this.#open.values()) this.#context.release(directory);
    this.#open.clear();
    this.#ways.clear();
    this.#links.clear();
    this.#context.parents?.forget();
  }

  /** Whether paths led over a link that the parents have at a name. */
  ledOver(directory: string, name: EntryName): boolean {
    return this.#links.size > 0 && this.#links.has(childPath(directory, nameText(name)));
  }

  /** The directory at a real path, which is there. */
  at(path: string): Directory {
    const kept = this.#kept(path);
    if (kept !== undefined) return kept;
    const fd = unwrap(this.tryOpenReal(path), "openat2", path === "" ? "./" : path);
    return this.#keep(this.#describe(path, fd));
  }

  /**
   * Opens the directory at a path, through links; a directory that only the parents have is copied
   * up. No new directory is made. Each call is charged to the budget.
   *
   * @param offset of the entry that names it
   * @returns a directory, or `-errno`
   * @throws {PathError} for a path through more links than are followed, or than the tar has paid
   * for
   */
  tryOpen(path: string, offset: number): Opened | number {
    const fd = this.tryOpenReal(path);
    if (fd >= 0) return { fd, path };
    const isBelow = this.#context.parents !== undefined && (fd === -ENOENT || fd === -ENOTDIR);
    if (fd !== -ELOOP && !isBelow) return fd;
    this.#context.drain();
    const way = this.#ways.get(path) ?? this.#walk(path, false);
    if (typeof way === "number") return way;
    this.#budget.spend(costOf(path, way), offset);
    const real = this.tryOpenReal(way.path);
    return real < 0 ? real : { fd: real, path: way.path };
  }

  /**
   * Opens the directory at a real path, raw: the kernel follows no link and does not leave the
   * layer.
   *
   * @returns a descriptor, which the caller closes, or `-errno`: `ELOOP` if a link is on the path
   */
  tryOpenReal(path: string): number {
    const fd = tryOpenat2(
      this.#context.root,
      path === "" ? "." : path,
      O_RDONLY | O_DIRECTORY,
      RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    );
    // If `fs.protected_symlinks` is on, a link in a directory like /tmp is refused before the
    // kernel considers whether any is followed.
    return fd === -EACCES ? -ELOOP : fd;
  }

  #lookUp(path: string, makes: boolean): Directory | number {
    this.#lastCost = 0;
    const open = this.#kept(path);
    if (open !== undefined) return open;
    if (this.#ways.get(path) === undefined) {
      const fd = this.tryOpenReal(path);
      if (fd >= 0) return this.#keep(this.#describe(path, fd));
      if (path === "") unwrap(fd, "openat2", "./");
    }
    this.#context.drain();
    const way = this.#ways.get(path) ?? this.#walk(path, makes);
    if (typeof way === "number") return way;
    this.#lastCost = costOf(path, way);
    const kept = this.#kept(way.path);
    if (kept !== undefined) return kept;
    const fd = this.tryOpenReal(way.path);
    return fd < 0 ? fd : this.#keep(this.#describe(way.path, fd));
  }

  /** The way to a directory, or `-errno`. */
  #walk(path: string, makes: boolean): Way | number {
    using walk = new Walk(
      path,
      this.#ways,
      (real) => this.tryOpenReal(real),
      (fd, name, directory) => this.#reach(fd, name, directory, makes),
    );
    return walk.run();
  }

  /** See {@linkcode ReachDirectory}. */
  #reach(
    dirfd: number,
    name: EntryName,
    directory: string,
    makes: boolean,
  ): boolean | Uint8Array {
    const { parents, whiteouts } = this.#context, stat = this.#foundStat;
    const own = whiteouts.look(dirfd, name);
    if (own === "present") return false;
    const found = own === "absent" ? parents?.find(directory, name, stat) : undefined;
    if (found === undefined) {
      if (makes) this.#make(dirfd, name, directory, own === "hidden");
      return makes;
    }
    if (stat.isSymlink) {
      const target = tryReadlinkat(found.directory, name);
      if (typeof target === "number") return unwrap(target, "readlinkat", name) === 0;
      this.#links.add(childPath(directory, nameText(name)));
      return target;
    }
    if (!stat.isDirectory) return false;
    this.meet(directory, dirfd);
    const fd = copyDirectoryUp(found, name, stat, dirfd);
    withFd(fd, () => this.#born(childPath(directory, nameText(name)), fd, stat));
    return true;
  }

  /** Makes a directory that no entry announced. */
  #make(dirfd: number, name: EntryName, directory: string, wasHidden: boolean): void {
    const { owner, whiteouts } = this.#context;
    this.meet(directory, dirfd);
    if (wasHidden) whiteouts.lift(dirfd, name);
    const make = () => tryMkdirat(dirfd, name, PLAIN_MODE);
    unwrap(liftingProtection(dirfd, make), "mkdirat", name);
    withFd(openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), (fd) => {
      // The group and access list of the directory around it are not from the tar.
      makePlain(fd, owner);
      this.#born(childPath(directory, nameText(name)), fd, fstat(fd, this.#stat));
      if (wasHidden) whiteouts.replace(directory, name, fd);
    });
    this.#context.implied(this.#identityOf(dirfd), name);
  }

  /** Takes note of an open directory that is there, before it is changed. */
  meet(path: string, fd: number): void {
    const stat = fstat(fd, this.#stat);
    this.#context.directories.meet(path, stat.inode, stat);
  }

  /** Takes note of an open directory that was just made, and of the times that it is to have. */
  #born(path: string, fd: number, moments: Moments): void {
    this.#context.directories.born(path, fstat(fd, this.#inodeStat).inode, moments);
  }

  #identityOf(fd: number): bigint {
    return this.#context.directories.identity(fstat(fd, this.#stat).inode);
  }
  #kept(path: string): Directory | undefined {
    const open = this.#open.get(path);
    if (open === undefined) return undefined;
    this.#open.delete(path);
    this.#open.set(path, open);
    return open;
  }

  #keep(directory: Directory): Directory {
    this.#open.set(directory.path, directory);
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
    this.#context.release(directory);
  }

  #describe(path: string, fd: number): Directory {
    const { directories } = this.#context;
    const stat = fstat(fd, this.#stat);
    directories.meet(path, stat.inode, stat);
    const inherits = (stat.mode & S_ISGID) !== 0 || fgetxattr(fd, ACL_DEFAULT) !== undefined;
    return { fd, path, identity: directories.identity(stat.inode), inherits, lastJob: 0 };
  }
}

/** The real path of an entry in a directory. */
export function childPath(directory: string, name: string): string {
  return directory === "" ? name : `${directory}/${name}`;
}

function refused(path: string, result: number): Error {
  if (result !== -ENOTDIR && result !== -ENOENT && result !== -ENAMETOOLONG) {
    unwrap(result, "openat2", path);
  }
  return new PathError(
    result === -ENAMETOOLONG
      ? `links lead to a directory for it whose own path is longer than ${LONGEST_PATH} bytes`
      : `${quoted(path)} is not a directory, and an entry lies below it`,
  );
}
