/**
 * Adds the marks and whiteouts that aufs needs to show a layer as it was made.
 *
 * aufs's lookup of a directory (`au_lkup_dentry` of `fs/aufs/dentry.c`) differs in two points from
 * the rules by which layers are made:
 *
 * - A directory with `.wh..wh..opq` hides everything that lower branches have in it. But aufs stops
 *   only at the lowest branch in which the directory is opaque, not at the uppermost one. So a
 *   directory that was replaced in two layers shows the content of the lower one as well, and so do
 *   directories in it.
 * - A file hides the entries of its name in lower branches. But for a directory, aufs skips entries
 *   of another type: a directory over a file over a directory shows the content of the lowest. A
 *   directory that aufs itself makes in place of a file is opaque; one from a tar is not.
 *
 * aufs does not show an entry that has a whiteout, and stops its lookup there. So an opaque
 * directory gets a whiteout for each name that aufs would show from a lower branch, and a directory
 * that should be opaque gets the mark.
 *
 * @module
 */
import { readListing, readSubdirectories } from "../../ffi/directory.ts";
import { type EntryName, entryName, nameText } from "../../ffi/entry_name.ts";
import { EEXIST, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { close, O_CREAT, O_EXCL, O_WRONLY, tryOpenat, withFd } from "../../ffi/files.ts";
import { tryReopenDirectory } from "../../ffi/quiet_open.ts";
import { Times, tryFutimens } from "../../ffi/names.ts";
import { fstat, Stat, tryStatat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { aufsWhiteoutOf } from "../../lib/tree/branch.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import { isGone } from "../../lib/tree/gone.ts";
import { liftingProtection } from "../../lib/tree/protection.ts";
import { OPAQUE_MARKER, WHITEOUT_PREFIX } from "../../lib/tree/whiteouts.ts";

/** The number of directories that are kept open in all lowers together. */
const OPEN_LOWERS = 256;

/** `WH_MASK` of `fs/aufs/whout.c`. */
const MODE = 0o444;

const OPAQUE = entryName(OPAQUE_MARKER);

/** The options of {@linkcode mendBranch}. */
export interface MendOptions {
  /**
   * Whether a tar was applied to the branch, so that directories that should be opaque may have no
   * mark. If so, every directory is looked up in the lowers, otherwise only opaque ones and those
   * in them.
   */
  readonly applied?: boolean;
}

/**
 * Makes the missing marks and whiteouts in a branch that no mount writes to. It may run twice, or
 * at the same time in another process, and must be repeated if it is interrupted. Directories keep
 * their times, except the current one if the process is killed.
 *
 * @param upper the branch, open for reading; the caller closes it
 * @param lowers functions that open the branches below it for reading, uppermost first. They are
 * called only if they are needed. The descriptors are closed here: there may be hundreds, and only
 * one for each branch is kept.
 * @returns the number of marks and whiteouts that it made
 * @throws {SyscallError}
 * @throws {VeneerError} `in use` if something is mounted in one of the branches
 */
export function mendBranch(
  upper: number,
  lowers: readonly (() => number)[],
  { applied = false }: MendOptions = {},
): number {
  using stacks = new DisposableStack();
  const openLowers = () => {
    const limit = Math.max(1, Math.floor(OPEN_LOWERS / lowers.length));
    const stackOn = (lower: number) => stacks.use(new DirectoryStack(lower, limit));
    return lowers.map((open) => withFd(open(), stackOn));
  };
  const walk = new MendWalk(stacks.use(new DirectoryStack(upper)), openLowers, applied);
  walk.run();
  return walk.made;
}

/** The lowers that aufs merges into a directory; each walk is at that directory. */
interface Merged {
  /** Uppermost first. */
  readonly lowers: readonly DirectoryStack[];
  /** Whether an entry of another type, above all of them, hides them. */
  readonly isHidden: boolean;
}

/** A directory of the branch on the way down to the walk's position. */
interface Level {
  /** Its name in the directory above; the root has none. */
  readonly name: EntryName | undefined;
  /** The directories in it that the walk has not entered yet. */
  readonly left: EntryName[];
  /**
   * Whether it hides everything that the lowers have in it: it is opaque, or is in an opaque one.
   */
  hides: boolean;
  /** Whether it has the mark, which has no meaning in the root. */
  marked: boolean;
  /** Missing until it is needed. */
  merged?: Merged;
}

class MendWalk {
  made = 0;
  readonly #levels: Level[] = [];
  readonly #stat = new Stat();
  readonly #before = new Stat();
  readonly #times = new Times();

  constructor(
    readonly upper: DirectoryStack,
    readonly openLowers: () => readonly DirectoryStack[],
    readonly applied: boolean,
  ) {}

  run(): void {
    const { names } = readSubdirectories(this.upper.fd, OPAQUE);
    this.#levels.push({ name: undefined, left: names, hides: false, marked: false });
    for (let level; (level = this.#levels.at(-1));) {
      const name = level.left.pop();
      if (name === undefined) this.#leave();
      else this.#enter(level, name);
    }
  }

  #leave(): void {
    const { merged } = this.#levels.pop()!;
    if (this.#levels.length === 0) return;
    this.upper.leave();
    for (const lower of merged?.lowers ?? []) lower.leave();
  }

  /** Enters a directory, unless it is aufs's own. */
  #enter({ hides }: Level, name: EntryName): void {
    if (nameText(name).startsWith(WHITEOUT_PREFIX)) return;
    if (isGone(this.upper.tryEnter(name), "openat", name)) return;
    const { names, has: marked } = readSubdirectories(this.upper.fd, OPAQUE);
    const level: Level = { name, left: names, hides: hides || marked, marked };
    this.#levels.push(level);
    if (this.applied) level.hides ||= this.#mergedAt(this.#levels.length - 1).isHidden;
    if (level.hides) this.#hide(level);
  }

  /**
   * Makes the missing entries in a directory that hides the lowers' content, and restores its
   * times.
   */
  #hide(level: Level): void {
    if (this.#mergedAt(this.#levels.length - 1).lowers.length === 0) return;
    const { made } = this, { fd } = this.upper;
    fstat(fd, this.#before);
    this.#makeMissing(level);
    if (this.made === made) return;
    const { accessSeconds, accessNanos, seconds, nanos } = this.#before;
    const times = this.#times.set(accessSeconds, accessNanos, seconds, nanos);
    unwrap(tryFutimens(fd, times), "futimens", level.name!);
  }

  #makeMissing(level: Level): void {
    if (!level.marked) {
      this.#make(OPAQUE);
      level.marked = true;
      // With the mark, aufs merges fewer lowers.
      for (const lower of level.merged!.lowers) lower.leave();
      level.merged = this.#merge(this.#levels.at(-2)!.merged!.lowers, level);
    }
    const settled = new Set(this.#names().map(hiddenOrNamed));
    for (const { fd } of level.merged!.lowers) {
      const { names } = readListing(fd);
      for (const text of names) {
        if (text.startsWith(WHITEOUT_PREFIX) || settled.has(text)) continue;
        const whiteout = aufsWhiteoutOf(entryName(text));
        // If the name is too long for a whiteout, aufs cannot open it anyway.
        if (whiteout !== undefined) this.#make(whiteout);
      }
      for (const text of names) settled.add(hiddenOrNamed(text));
    }
  }

  /** All names in the walk's current directory. */
  #names(): readonly string[] {
    const fd = unwrap(tryReopenDirectory(this.upper.fd), "openat");
    return withFd(fd, () => readListing(fd).names);
  }

  /**
   * The lowers that aufs merges at a level. Levels above it for which they are unknown come first.
   */
  #mergedAt(depth: number): Merged {
    const levels = this.#levels;
    levels[0].merged ??= { lowers: this.openLowers(), isHidden: false };
    let known = depth;
    while (levels[known].merged === undefined) known--;
    for (let i = known + 1; i <= depth; i++) {
      levels[i].merged = this.#merge(levels[i - 1].merged!.lowers, levels[i]);
    }
    return levels[depth].merged!;
  }

  /**
   * Enters a directory in the lowers as aufs's lookup does: it skips entries that are not
   * directories, and stops at the first whiteout. Lowers below the lowest one in which the
   * directory is opaque are not merged.
   */
  #merge(parents: readonly DirectoryStack[], { name, marked }: Level): Merged {
    const entered: DirectoryStack[] = [];
    let count = marked ? 0 : Infinity, isFirst = true, isHidden = false;
    for (const lower of parents) {
      const fd = lower.tryEnter(name!);
      if (fd === -ENOENT) {
        if (this.#hasWhiteout(lower.fd, name!)) break;
        continue;
      }
      if (fd === -ENOTDIR) isHidden ||= isFirst;
      else {
        unwrap(fd, "openat", name!);
        entered.push(lower);
        if (this.#has(fd, OPAQUE)) count = entered.length;
      }
      isFirst = false;
    }
    for (const lower of entered.slice(count)) lower.leave();
    return { lowers: entered.slice(0, count), isHidden };
  }

  #hasWhiteout(directory: number, name: EntryName): boolean {
    const whiteout = aufsWhiteoutOf(name);
    return whiteout !== undefined && this.#has(directory, whiteout);
  }

  #has(directory: number, name: EntryName): boolean {
    const found = tryStatat(directory, name, this.#stat);
    if (found === -ENOENT) return false;
    unwrap(found, "statx", name);
    return true;
  }

  /** Makes an empty file in the walk's current directory. */
  #make(name: EntryName): void {
    const { fd: directory } = this.upper;
    const make = () => tryOpenat(directory, name, O_WRONLY | O_CREAT | O_EXCL, MODE);
    const fd = liftingProtection(directory, make);
    if (fd === -EEXIST) return;
    close(unwrap(fd, "openat", name));
    this.made++;
  }
}

/**
 * The name that an entry of a branch has or hides: aufs does not show this name from lower
 * branches.
 */
const hiddenOrNamed = (entry: string) =>
  entry.startsWith(WHITEOUT_PREFIX) ? entry.slice(WHITEOUT_PREFIX.length) : entry;
