/**
 * The parents of a layer as one tree, read without a mount: the content that a union mount shows
 * below the layer's own directory.
 *
 * A directory of that tree is merged from every lower layer that has it, down to the first that is
 * hidden by a whiteout, an opaque directory, or an entry of another type. These layers are found
 * once for a directory, by going down in one layer after the other, from descriptor to descriptor
 * and through no link: a few system calls for each layer and each component of the path. Paths
 * contain no links; the caller follows links that are found.
 *
 * Entries that the layer itself hides are hidden here as well. So a caller that makes a directory
 * of the layer opaque, or removes or replaces one, calls {@linkcode Parents.forget}.
 *
 * @module
 */
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { ELOOP, ENOENT, ENOTDIR, EXDEV } from "../../ffi/errno.ts";
import {
  close,
  O_DIRECTORY,
  O_RDONLY,
  RESOLVE_INSIDE,
  RESOLVE_NO_XDEV,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import { tryOpenDirectory, tryReopenDirectory } from "../../ffi/quiet_open.ts";
import { Stat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { BRANCH_FORMS, type BranchForm } from "./branch.ts";
import { openTree, type TreePlace } from "./confined.ts";
import { mountedInside } from "./directory_stack.ts";

/** In so many layers the directory that was asked for last stays open. */
const MOST_OPEN = 64;
/** Of so many directories it is kept in mind which layers have them. */
const MOST_KNOWN = 1024;
/**
 * So many levels above a directory are searched for one that is known: real trees are hardly
 * deeper.
 */
const NEAR = 16;

/**
 * A text of so many characters is never longer than a path may be: a character takes three bytes at
 * most.
 */
const MOST_TEXT = 1365;

const DIRECTORY = O_RDONLY | O_DIRECTORY;
const CLOSED = -1;

/** The place of an entry of the parents. */
export interface Found {
  /** The directory of the layer that has it: the tree's own, and open until its next call. */
  readonly directory: number;
  /** Whether it is the lowest layer, in which attributes about layers below have no meaning. */
  readonly isLowest: boolean;
}

/** A layer that has a directory. */
interface Share {
  /** The uppermost one is 0. */
  readonly lower: number;
  /** That directory, or {@linkcode CLOSED}. */
  fd: number;
}

/** The end of a way down. */
interface Descent {
  /** The directory there, for the caller to close. */
  readonly fd: number;
  /** How many levels down it is. */
  readonly reached: number;
  /** The deepest level at which the layers below still count. */
  readonly open: number;
}

/** The layers below one layer. */
export class Parents implements Disposable {
  readonly #upper: number;
  readonly #lowers: readonly TreePlace[];
  readonly #form: BranchForm;
  /** Which layers have a directory, by its path. */
  readonly #known = new Map<string, readonly number[]>();
  /** The last directory asked for, and the layers that have it. */
  #at: string | undefined;
  #shares: Share[] = [];
  /** The same directory of the layer itself, or {@linkcode CLOSED}. */
  #own = CLOSED;
  /** The descriptors of a share that were opened for this call alone. */
  #borrowed = CLOSED;
  readonly #stat = new Stat();

  /**
   * @param upper  the layer's own directory, open for reading; it stays the caller's
   * @param lowers those below it, uppermost first
   * @param form   how all of them write deletions down
   */
  constructor(upper: number, lowers: readonly TreePlace[], form: "overlay" | "aufs") {
    this.#upper = upper;
    this.#lowers = lowers;
    this.#form = BRANCH_FORMS[form];
  }

  /**
   * Looks a name up in the parents, regardless of the layer's own entry.
   *
   * @param path the directory's, from the root; it need not exist
   * @param stat tells of the entry, if there is one
   * @throws {VeneerError} `failed precondition` if a directory on the way has its content elsewhere
   */
  find(path: string, name: EntryName, stat: Stat): Found | undefined {
    this.#goTo(path);
    for (const share of this.#shares) {
      const directory = this.#directoryOf(share);
      const found = this.#form.lookup(directory, name, stat);
      if (found === "hidden") return undefined;
      if (found === "present") return { directory, isLowest: this.#isLowest(share.lower) };
    }
    return undefined;
  }

  /** Whether there is a directory at a path, of which the layer does not hide all. */
  has(path: string): boolean {
    this.#goTo(path);
    return this.#shares.length > 0;
  }

  /** The names in a directory, in no order. */
  names(path: string): EntryName[] {
    this.#goTo(path);
    const names: EntryName[] = [], seen = new Set<string>();
    for (const share of this.#shares) {
      const fd = unwrap(tryReopenDirectory(this.#directoryOf(share)), "openat", path);
      for (const { text, name, present } of withFd(fd, this.#form.entries)) {
        if (seen.has(text)) continue;
        seen.add(text);
        if (present) names.push(name);
      }
    }
    return names;
  }

  /** Forgets all that was looked up. */
  forget(): void {
    this.#known.clear();
    this.#leave();
  }

  [Symbol.dispose](): void {
    this.#leave();
  }

  #leave(): void {
    for (const { fd } of this.#shares) closeOpen(fd);
    closeOpen(this.#own);
    closeOpen(this.#borrowed);
    this.#shares = [];
    this.#own = this.#borrowed = CLOSED;
    this.#at = undefined;
  }

  #isLowest(lower: number): boolean {
    return lower === this.#lowers.length - 1;
  }

  /** The open directory of a share, which stays the tree's. */
  #directoryOf({ lower, fd }: Share): number {
    if (fd !== CLOSED) return fd;
    closeOpen(this.#borrowed);
    this.#borrowed = CLOSED;
    return this.#borrowed = this.#openLower(lower, this.#at!);
  }

  #openLower(lower: number, path: string): number {
    const root = openTree(this.#lowers[lower], DIRECTORY);
    return withFd(root, () => unwrap(tryOpenBelow(root, path), "openat2", path));
  }

  /** Goes to a directory, from the nearest one above it that is known. */
  #goTo(path: string): void {
    if (path === this.#at) return;
    if (this.#at === undefined || !isAbove(this.#at, path)) this.#standAt(this.#nearestKnown(path));
    if (path === this.#at) return;
    const below = this.#at === "" ? path : path.slice(this.#at!.length + 1);
    try {
      this.#goDown(path, below.split("/").map(entryName));
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  /** Goes to a directory that is known, or to the root. */
  #standAt(path: string): void {
    this.#leave();
    const lowers = this.#known.get(path) ?? this.#lowers.map((_, i) => i);
    this.#shares = lowers.map((lower) => ({ lower, fd: CLOSED }));
    const own = tryOpenBelow(this.#upper, path);
    if (own !== -ENOENT && own !== -ENOTDIR) this.#own = unwrap(own, "openat2", path);
    this.#at = path;
  }

  #nearestKnown(path: string): string {
    let above = path;
    for (let i = 0; i <= NEAR && above !== ""; i++) {
      if (this.#known.has(above)) return above;
      above = above.slice(0, Math.max(0, above.lastIndexOf("/")));
    }
    return "";
  }

  /** Goes down from the tree's position, in one layer after the other. */
  #goDown(path: string, names: readonly EntryName[]): void {
    // The layers that have each directory on the way: at index 0 those of the first one below.
    const lowers: number[][] = names.map(() => []);
    const shares: Share[] = [];
    let open = names.length;
    try {
      if (this.#own !== CLOSED) {
        const own = this.#own;
        this.#own = CLOSED;
        const { fd, reached, open: left } = this.#descend(own, names, names.length, true);
        open = left;
        if (reached === names.length) this.#own = fd;
        else close(fd);
      }
      for (const share of this.#shares) {
        if (open === 0) break;
        const { lower } = share;
        const start = share.fd === CLOSED ? this.#openLower(lower, this.#at!) : share.fd;
        share.fd = CLOSED;
        const descent = this.#descend(start, names, open, !this.#isLowest(lower));
        for (let level = 0; level < descent.reached; level++) lowers[level].push(lower);
        const isKept = descent.reached === names.length && shares.length < MOST_OPEN;
        if (descent.reached === names.length) {
          shares.push({ lower, fd: isKept ? descent.fd : CLOSED });
        }
        if (!isKept) close(descent.fd);
        open = descent.open;
      }
    } catch (error) {
      for (const { fd } of shares) closeOpen(fd);
      throw error;
    }
    for (const { fd } of this.#shares) closeOpen(fd);
    this.#shares = shares;
    this.#at = path;
    this.#remember(path, lowers);
  }

  /**
   * Goes down in one layer as far as it has directories.
   *
   * @param start   an open directory, which is closed
   * @param deepest as far as this layer is seen
   * @param marks   whether marks of opaque directories count
   */
  #descend(
    start: number,
    names: readonly EntryName[],
    deepest: number,
    marks: boolean,
  ): Descent {
    let fd = start, open = deepest;
    try {
      for (let level = 0; level < deepest; level++) {
        const below = tryOpenDirectory(fd, names[level]);
        if (below < 0) {
          if (this.#hides(fd, names[level], below)) open = Math.min(open, level);
          return { fd, reached: level, open };
        }
        close(fd);
        fd = below;
        if (marks && this.#form.isOpaque(fd)) open = Math.min(open, level);
      }
      return { fd, reached: deepest, open };
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  /**
   * Whether an entry that could not be opened as a directory hides directories of the layers below.
   */
  #hides(fd: number, name: EntryName, result: number): boolean {
    if (result === -EXDEV) throw mountedInside(name);
    if (result !== -ENOENT && result !== -ENOTDIR && result !== -ELOOP) {
      unwrap(result, "openat2", name);
    }
    return this.#form.lookup(fd, name, this.#stat) !== "absent";
  }

  /** Caches the layers that have a directory and those near above it. */
  #remember(path: string, lowers: readonly (readonly number[])[]): void {
    let above = path;
    for (let level = lowers.length - 1, i = 0; level >= 0 && i <= NEAR; level--, i++) {
      this.#known.set(above, lowers[level]);
      above = above.slice(0, Math.max(0, above.lastIndexOf("/")));
    }
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_KNOWN) break;
      this.#known.delete(oldest);
    }
  }
}

function closeOpen(fd: number): void {
  if (fd !== CLOSED) close(fd);
}

function isAbove(directory: string, path: string): boolean {
  return directory === "" || path.startsWith(`${directory}/`);
}

/** Opens the directory at a path below another, which may be longer than one call takes; raw. */
function tryOpenBelow(directory: number, path: string): number {
  let fd = tryOpenPiece(directory, ".");
  for (let at = 0; fd >= 0 && at < path.length;) {
    const rest = path.length - at;
    const end = rest <= MOST_TEXT ? path.length : path.lastIndexOf("/", at + MOST_TEXT);
    const from = fd;
    fd = withFd(from, () => tryOpenPiece(from, path.slice(at, end)));
    at = end + 1;
  }
  return fd;
}

/** Through no link and no mount. */
function tryOpenPiece(directory: number, path: string): number {
  return tryOpenat2(directory, path, DIRECTORY, RESOLVE_INSIDE | RESOLVE_NO_XDEV);
}
