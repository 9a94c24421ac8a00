/**
 * Where an entry goes: the directory above it, as a descriptor that cannot be outside the layer.
 *
 * A directory is opened from the layer's root by its *real path*, on which no link lies; the kernel sees to
 * both (`RESOLVE_IN_ROOT`, `RESOLVE_NO_SYMLINKS`). Descriptors of the directories used last are kept by that
 * path; most entries lie in the same directory as the one before, which costs one comparison of bytes.
 *
 * A path through links is first turned into a real one, component by component (`walk.ts`), and this way is
 * kept too. Both caches hold until a directory or a link is removed or replaced: whoever does that calls
 * {@linkcode Placement.forget}.
 *
 * @module
 */
import { decode } from "../../../ffi/cstring.ts";
import type { EntryName } from "../../../ffi/entry_name.ts";
import { EEXIST, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR } from "../../../ffi/errno.ts";
import {
  O_DIRECTORY,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  tryOpenat2,
} from "../../../ffi/files.ts";
import { fstat, Stat } from "../../../ffi/stat.ts";
import { S_ISGID, tryLchownat, tryMkdirat } from "../../../ffi/names.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { fgetxattr } from "../../../ffi/xattr.ts";
import { liftingProtection } from "../../tree/protection.ts";
import { ACL_DEFAULT } from "../mapped_xattrs.ts";
import { quoted } from "../read/bad_tar.ts";
import type { Entry } from "../read/entry.ts";
import { LONGEST_PATH, PathError } from "../read/layer_path.ts";
import { costOf, LinkBudget } from "./link_budget.ts";
import { type MakeDirectory, Walk, type Way, Ways } from "./walk.ts";

/** How many directories stay open beside the current one: more than a walk is ever deep. */
const MOST_OPEN = 64;
const IMPLIED_MODE = 0o755;

/** An open directory of the layer. */
export interface Directory {
  readonly fd: number;
  /** Its real path from the layer's root: no link lies on it. */
  readonly path: string;
  /** The inode's number: with a name, it tells an entry from every other one. */
  readonly inode: bigint;
  /** Whether it hands its group or an access list down to what is made in it. */
  readonly inherits: boolean;
  /** The last job of the worker that uses it; see `worker_jobs.ts`. */
  lastJob: number;
}

/** What the applier does for the placement. */
export interface PlacementHooks {
  /** A non-directory, `name` in `dirfd`, is where a directory must be: true where that has been put right. */
  obstacle(dirfd: number, name: EntryName): boolean;
  /** A directory that no entry announced was made. */
  implied(dirfd: number, name: EntryName): void;
  /** Everything entries so far ask for must be on disk: a path is resolved that could depend on it. */
  drain(): void;
  /** Closes a descriptor when nobody uses it any more. */
  release(directory: Directory): void;
}

/** The directories of one layer. */
export class Placement {
  readonly #root: number;
  readonly #owner: { readonly uid: number; readonly gid: number };
  readonly #hooks: PlacementHooks;
  /** By real path; the one used last is at the end. */
  readonly #open = new Map<string, Directory>();
  readonly #ways = new Ways();
  readonly #stat = new Stat();
  /** The directory of the last entry, and its path as the tar writes it. */
  #last: Directory | undefined;
  readonly #lastPath = new Uint8Array(LONGEST_PATH);
  #lastLength = 0;
  /** What links add to that path, in components. */
  #lastCost = 0;
  readonly #budget = new LinkBudget();
  /** The offset of the last entry that paid for its path: one that is done over has paid. */
  #paidOffset = -1;

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

  /**
   * The directory that an entry is in; made, with those above it, where it is missing.
   *
   * @throws {PathError} for a path through more links than are followed, or than the tar has paid for
   */
  parentOf(entry: Entry): Directory {
    const directory = this.#find(entry);
    if (entry.offset > this.#paidOffset) {
      this.#paidOffset = entry.offset;
      if (this.#lastCost > 0) this.#budget.spend(this.#lastCost, entry.offset);
    }
    return directory;
  }

  #find(entry: Entry): Directory {
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

  /** Keeps a directory that was just made or opened, `name` in `parent`. */
  remember(parent: Directory, name: string, fd: number): Directory {
    const path = childPath(parent, name);
    const directory = this.#describe(path, fd);
    const former = this.#open.get(path);
    if (former !== undefined) this.#drop(path, former);
    return this.#keep(directory);
  }

  /** Closes every descriptor: paths may lead elsewhere from now on. */
  forget(): void {
    this.#last = undefined;
    for (const directory of this.#open.values()) this.#hooks.release(directory);
    this.#open.clear();
    this.#ways.clear();
  }

  /**
   * Opens the directory at a path, through links, without making anything; raw. Each call is paid for.
   *
   * @param offset of the entry that names it
   * @returns a descriptor, which the caller closes, or `-errno`
   * @throws {PathError} for a path through more links than are followed, or than the tar has paid for
   */
  tryOpen(path: string, offset: number): number {
    const fd = this.tryOpenReal(path);
    if (fd !== -ELOOP) return fd;
    this.#hooks.drain();
    const way = this.#ways.get(path) ?? this.#walk(path);
    if (typeof way === "number") return way;
    this.#budget.spend(costOf(path, way), offset);
    return this.tryOpenReal(way.path);
  }

  /** Opens the directory at a real path, raw: the kernel follows no link and does not leave the layer. */
  tryOpenReal(path: string): number {
    return tryOpenat2(
      this.#root,
      path === "" ? "." : path,
      O_RDONLY | O_DIRECTORY,
      RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    );
  }

  #lookUp(path: string): Directory {
    this.#lastCost = 0;
    const open = this.#kept(path);
    if (open !== undefined) return open;
    if (this.#ways.get(path) === undefined) {
      const fd = this.tryOpenReal(path);
      if (fd >= 0) return this.#keep(this.#describe(path, fd));
      if (path === "") unwrap(fd, "openat2", "./");
    }
    this.#hooks.drain();
    const way = this.#ways.get(path) ?? this.#walk(path, (fd, name) => this.#make(fd, name));
    if (typeof way === "number") throw refused(path, way);
    this.#lastCost = costOf(path, way);
    const kept = this.#kept(way.path);
    if (kept !== undefined) return kept;
    const fd = this.tryOpenReal(way.path);
    if (fd < 0) throw refused(path, fd);
    return this.#keep(this.#describe(way.path, fd));
  }

  /** The way to a directory, or `-errno` if there is none. */
  #walk(path: string, make?: MakeDirectory): Way | number {
    using walk = new Walk(path, this.#ways, (real) => this.tryOpenReal(real), make);
    return walk.run();
  }

  /** Makes a directory that no entry announced; false where something else has its name. */
  #make(dirfd: number, name: EntryName): boolean {
    const made = liftingProtection(dirfd, () => tryMkdirat(dirfd, name, IMPLIED_MODE));
    if (made === -EEXIST) return this.#hooks.obstacle(dirfd, name);
    unwrap(made, "mkdirat", name);
    unwrap(tryLchownat(dirfd, name, this.#owner.uid, this.#owner.gid), "fchownat", name);
    this.#hooks.implied(dirfd, name);
    return true;
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
    this.#hooks.release(directory);
  }

  #describe(path: string, fd: number): Directory {
    const stat = fstat(fd, this.#stat);
    const inherits = (stat.mode & S_ISGID) !== 0 || fgetxattr(fd, ACL_DEFAULT) !== undefined;
    return { fd, path, inode: stat.inode, inherits, lastJob: 0 };
  }
}

/** The real path of an entry in a directory. */
export function childPath({ path }: Directory, name: string): string {
  return path === "" ? name : `${path}/${name}`;
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
