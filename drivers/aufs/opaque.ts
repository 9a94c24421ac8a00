/**
 * Marks and whiteouts by which aufs shows a layer as it was made.
 *
 * Its lookup of a directory (`au_lkup_dentry` of `fs/aufs/dentry.c`) differs in two points from the
 * rules by which layers are made:
 *
 * - A directory with `.wh..wh..opq` hides all that the branches below have in it. But aufs goes on
 *   behind the first branch in which it is opaque, down to the last one: a directory that was made
 *   anew in two layers shows what the lower of them has in it, and so do directories in it.
 * - A file below a directory hides what lies below the file. But aufs passes over entries of
 *   another type: a directory over a file over a directory shows what is in the lowest. When aufs
 *   makes such a directory itself, it makes it opaque; a tar has no reason to say so.
 *
 * aufs does not show what has a whiteout, nor goes on behind one. So an opaque directory gets one
 * for each name that aufs would show of a lower branch, and a directory that is not opaque and
 * should be, the mark.
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

/** How many directories of all lowers together are kept open. */
const OPEN_LOWERS = 256;

/** `WH_MASK` of `fs/aufs/whout.c`. */
const MODE = 0o444;

const OPAQUE = entryName(OPAQUE_MARKER);

/** How {@linkcode mendBranch} goes about it. */
export interface MendOptions {
  /**
   * Whether a tar was applied to the branch, and directories may be unmarked that should be opaque.
   * Then every directory is looked up in the lowers; else only opaque ones are, and those in them.
   */
  readonly applied?: boolean;
}

/**
 * Makes the missing marks and whiteouts in a branch that no mount writes to. Doing so twice, or at
 * the same time as another process, makes no difference; it is to be repeated if it is interrupted.
 * Directories keep their times, but for the one in which it is killed.
 *
 * @param upper  the branch, open for reading; it stays the caller's
 * @param lowers each opens a branch below it likewise, uppermost first; called if they are needed.
 * What it opens is closed here: there may be hundreds, and one descriptor of each stays open.
 * @returns how many marks and whiteouts it made
 * @throws {SyscallError}
 * @throws {VeneerError} `in use` if something is mounted in one of them
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

/** The lowers that aufs merges into a directory, and that stand in it. */
interface Merged {
  /** Uppermost first. */
  readonly lowers: readonly DirectoryStack[];
  /** Whether there is something else of that name above all of them, which hides them. */
  readonly isHidden: boolean;
}

/** A directory of the branch on the way down to the walk's position. */
interface Level {
  /** In the directory above; the root has none. */
  readonly name: EntryName | undefined;
  /** The directories in it that the walk is still to enter. */
  readonly left: EntryName[];
  /** Whether it hides all that the lowers have in it: it is opaque, or lies in one that is. */
  hides: boolean;
  /** Whether it has the mark; that of the root has no meaning. */
  marked: boolean;
  /** Left out until it is asked for. */
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

  /** Makes what is missing in a directory that hides all, and leaves it the times that it has. */
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
      // With the mark, aufs merges fewer.
      for (const lower of level.merged!.lowers) lower.leave();
      level.merged = this.#merge(this.#levels.at(-2)!.merged!.lowers, level);
    }
    const settled = new Set(this.#names().map(hiddenOrNamed));
    for (const { fd } of level.merged!.lowers) {
      const { names } = readListing(fd);
      for (const text of names) {
        if (text.startsWith(WHITEOUT_PREFIX) || settled.has(text)) continue;
        const whiteout = aufsWhiteoutOf(entryName(text));
        // aufs cannot open a name that is too long for one.
        if (whiteout !== undefined) this.#make(whiteout);
      }
      for (const text of names) settled.add(hiddenOrNamed(text));
    }
  }

  /** All names in the directory that the walk stands in. */
  #names(): readonly string[] {
    const fd = unwrap(tryReopenDirectory(this.upper.fd), "openat");
    return withFd(fd, () => readListing(fd).names);
  }

  /** What aufs merges at a level: found from the first level on of which it is not known. */
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
   * Goes down in the lowers as aufs's lookup does: past everything that is not a directory, to the
   * first whiteout. Those behind the last one in which the directory is opaque are not merged.
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

  /** Makes an empty file in the directory that the walk stands in. */
  #make(name: EntryName): void {
    const { fd: directory } = this.upper;
    const make = () => tryOpenat(directory, name, O_WRONLY | O_CREAT | O_EXCL, MODE);
    const fd = liftingProtection(directory, make);
    if (fd === -EEXIST) return;
    close(unwrap(fd, "openat", name));
    this.made++;
  }
}

/** The name that an entry of a branch has or hides: aufs shows neither of a branch below. */
const hiddenOrNamed = (entry: string) =>
  entry.startsWith(WHITEOUT_PREFIX) ? entry.slice(WHITEOUT_PREFIX.length) : entry;
