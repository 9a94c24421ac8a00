/**
 * The changes of an upper directory against its lowers, without a mount.
 *
 * The result equals a tree comparison between the lowers with and without the upper, but only the
 * upper is walked, so that the cost grows with the change. A copied-up entry that was not modified
 * is not a change, nor is a whiteout of a name that no lower has. An opaque directory deletes every
 * lower entry that the upper does not have. Redirected directories (overlay's `redirect_dir`) are
 * refused: only a mount can follow them. In the lowest directory such attributes have no meaning,
 * as for overlay itself, since nothing is below it.
 *
 * @module
 */
import type { EntryName } from "../../ffi/entry_name.ts";
import { ENOTDIR } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { BRANCH_FORMS, type BranchEntry, type BranchForm } from "./branch.ts";
import { ChangeList } from "./change_list.ts";
import type { Change } from "./changes.ts";
import { DirectoryStack } from "./directory_stack.ts";
import { isGone } from "./gone.ts";
import { isSameEntry } from "./entry_compare.ts";

/** How many directories of all lowers together are kept open. */
const OPEN_LOWERS = 256;

/**
 * The changes, in the order of `comparePaths`.
 *
 * @param upper  a directory, open for reading; stays the caller's, until the iteration ends
 * @param lowers functions that open the lowers for reading, uppermost first. The descriptors are
 * closed here: there may be hundreds, and only one for each lower is kept
 * @param form   how all of them write deletions down
 * @throws {SyscallError}
 */
export function* upperChanges(
  upper: number,
  lowers: readonly (() => number)[],
  form: "overlay" | "aufs",
): Generator<Change> {
  using stacks = new DisposableStack();
  const limit = Math.max(1, Math.floor(OPEN_LOWERS / lowers.length));
  const walk = new UpperWalk(
    stacks.use(new DirectoryStack(upper)),
    lowers.map((open) => withFd(open(), (lower) => stacks.use(new DirectoryStack(lower, limit)))),
    BRANCH_FORMS[form],
  );
  while (walk.advance()) yield* walk.changes.take();
}

/** A directory of the upper on the way down to the walk's position. */
interface Level {
  /** Never that of a change itself: see `change_list.ts`. */
  readonly path: string;
  /** Sorted. */
  readonly entries: readonly BranchEntry[];
  next: number;
  /** The lowers, uppermost first, that have a directory of this path which no other one hides. */
  readonly lowers: readonly DirectoryStack[];
  /** Whether the upper hides their entries, so that only its own are left. */
  readonly opaque: boolean;
}

class UpperWalk {
  readonly changes = new ChangeList();
  readonly #levels: Level[] = [];
  readonly #lowest: DirectoryStack | undefined;
  readonly #old = new Stat();
  readonly #now = new Stat();

  constructor(
    readonly upper: DirectoryStack,
    lowers: readonly DirectoryStack[],
    readonly form: BranchForm,
  ) {
    this.#lowest = lowers.at(-1);
    // Of the roots themselves no union mount asks whether they are opaque.
    this.#list("", lowers, false);
  }

  /** Walks on until there are changes to take, or to the end: then it is false. */
  advance(): boolean {
    for (let level; (level = this.#levels.at(-1));) {
      if (level.next < level.entries.length) this.#entry(level, level.entries[level.next++]);
      else this.#leave();
      if (this.changes.length > 0) return true;
    }
    return false;
  }

  /** Starts on the entries of the walk's directories. */
  #list(path: string, lowers: readonly DirectoryStack[], opaque: boolean): void {
    const entries = this.form.entries(this.upper.fd);
    if (opaque) entries.push(...this.#hidden(entries, lowers));
    entries.sort((a, b) => a.text < b.text ? -1 : 1);
    this.#levels.push({ path, entries, next: 0, lowers, opaque });
  }

  /** The names that the lowers have and an opaque directory does not, each of them once. */
  #hidden(entries: readonly BranchEntry[], lowers: readonly DirectoryStack[]): BranchEntry[] {
    const hidden = new Map<string, BranchEntry>();
    for (const { fd } of lowers) {
      for (const { text, name } of this.form.entries(fd)) {
        hidden.set(text, { text, name, present: false, whiteout: true });
      }
    }
    for (const { text } of entries) hidden.delete(text);
    return [...hidden.values()];
  }

  #leave(): void {
    const { lowers } = this.#levels.pop()!;
    if (this.#levels.length === 0) return;
    this.changes.leave();
    this.upper.leave();
    for (const lower of lowers) lower.leave();
  }

  #entry(level: Level, { text, name, present, whiteout }: BranchEntry): void {
    const path = `${level.path}/${text}`;
    const lower = this.#find(level.lowers, name);
    if (!present) {
      if (lower) this.changes.add("D", path);
      return;
    }
    const child = this.#now, parent = this.#old;
    const childDirectory = this.upper.fd;
    if (isGone(tryStatat(childDirectory, name, child), "statx", name)) return;
    const same = lower !== undefined &&
      isSameEntry({ parentDirectory: lower.fd, childDirectory, name, parent, child });
    if (!same) this.changes.add(lower ? "C" : "A", path);
    if (!child.isDirectory) return;
    const fd = this.upper.tryEnter(name);
    if (isGone(fd, "openat", name)) return;
    const lowers = lower && parent.isDirectory ? this.#enterLowers(level.lowers, name) : [];
    this.changes.enter(level.path, text, !same);
    const marked = this.#lowest !== undefined && this.form.isOpaque(fd);
    const opaque = marked || level.opaque || whiteout;
    this.#list(`${level.path}/${text}`, lowers, opaque);
  }

  /** The uppermost lower in which a name is seen; `#old` then tells of it. */
  #find(
    lowers: readonly DirectoryStack[],
    name: EntryName,
  ): DirectoryStack | undefined {
    for (const lower of lowers) {
      const found = this.form.lookup(lower.fd, name, this.#old);
      if (found !== "absent") return found === "present" ? lower : undefined;
    }
    return undefined;
  }

  /** Goes down in every lower whose directory is merged under a name; returns these. */
  #enterLowers(
    lowers: readonly DirectoryStack[],
    name: EntryName,
  ): DirectoryStack[] {
    const merged: DirectoryStack[] = [];
    for (const lower of lowers) {
      const found = this.form.lookup(lower.fd, name, this.#old);
      if (found === "absent") continue;
      if (found === "hidden") break;
      const fd = lower.tryEnter(name);
      if (fd === -ENOTDIR) break;
      unwrap(fd, "openat", name);
      merged.push(lower);
      if (lower !== this.#lowest && this.form.isOpaque(fd)) break;
    }
    return merged;
  }
}
