/**
 * The comparison of two whole trees.
 *
 * Both are walked at once, name by name in the order of `comparePaths`; `entry_compare.ts` decides
 * whether an entry is the same in both. Of an added tree every entry is listed, of a deleted one
 * the topmost alone; a change of an entry's type includes the deletion of the old entry and its
 * content. A directory is listed as changed if its mode, owner or attributes changed or an entry
 * below it did, never for its modification time alone, which even a file created and removed again
 * changes.
 *
 * Memory grows with the listings from the root down to the walk's position, not with the trees.
 *
 * @module
 */
import { DT_DIR, DT_UNKNOWN, type Listing, readListing } from "../../ffi/directory.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { ChangeList } from "./change_list.ts";
import type { Change } from "./changes.ts";
import { DirectoryStack } from "./directory_stack.ts";
import { isGone } from "./gone.ts";
import { isSameEntry } from "./entry_compare.ts";

/**
 * The changes that turn `parent` into `child`, in the order of `comparePaths`.
 *
 * @param parent a directory, open for reading, or `undefined` for an empty one; stays the caller's
 * @param child a directory, open for reading; stays the caller's, until the iteration ends
 * @throws {SyscallError}
 */
export function* compareTrees(parent: number | undefined, child: number): Generator<Change> {
  using children = new DirectoryStack(child);
  using parents = parent === undefined ? undefined : new DirectoryStack(parent);
  const comparison = new TreeComparison(parents, children);
  while (comparison.advance()) yield* comparison.changes.take();
}

/** A directory on the way down to the walk's position. */
interface Level {
  /** Never that of a change itself: see `change_list.ts`. */
  readonly path: string;
  /** Of the parent's directory of that path; `undefined` if it has none. */
  readonly old: Listing | undefined;
  readonly now: Listing;
  nextOld: number;
  nextNow: number;
}

class TreeComparison {
  readonly changes = new ChangeList();
  readonly #levels: Level[] = [];
  readonly #old = new Stat();
  readonly #now = new Stat();

  constructor(readonly parents: DirectoryStack | undefined, readonly children: DirectoryStack) {
    this.#list("", parents !== undefined);
  }

  /** Walks on until there are changes to take, or to the end: then it is false. */
  advance(): boolean {
    for (let level; (level = this.#levels.at(-1));) {
      if (!this.#step(level)) this.#leave();
      if (this.changes.length > 0) return true;
    }
    return false;
  }

  /** Starts on the entries of the walk's directories. */
  #list(path: string, inParent: boolean): void {
    this.#levels.push({
      path,
      old: inParent ? readListing(this.parents!.fd) : undefined,
      now: readListing(this.children.fd),
      nextOld: 0,
      nextNow: 0,
    });
  }

  /** Starts on the entries of the directories just entered. */
  #descend(path: string, name: string, listed: boolean, inParent: boolean): void {
    this.changes.enter(path, name, listed);
    this.#list(`${path}/${name}`, inParent);
  }

  #leave(): void {
    const level = this.#levels.pop()!;
    if (this.#levels.length === 0) return;
    this.changes.leave();
    this.children.leave();
    if (level.old) this.parents!.leave();
  }

  /** Compares the next name; false at the end of the directory. */
  #step(level: Level): boolean {
    const { old, now } = level;
    const oldName = old && level.nextOld < old.length ? old.names[level.nextOld] : undefined;
    const nowName = level.nextNow < now.length ? now.names[level.nextNow] : undefined;
    if (nowName !== undefined && (oldName === undefined || nowName < oldName)) {
      this.#added(level, level.nextNow++);
    } else if (oldName !== undefined && (nowName === undefined || oldName < nowName)) {
      level.nextOld++;
      this.changes.add("D", `${level.path}/${oldName}`);
    } else if (nowName !== undefined) {
      level.nextOld++;
      this.#both(level, level.nextNow++);
    } else {
      return false;
    }
    return true;
  }

  #added({ path, now }: Level, index: number): void {
    this.changes.add("A", `${path}/${now.names[index]}`);
    const type = now.type(index);
    if (type === DT_DIR || type === DT_UNKNOWN) this.#enterNew(path, now, index);
  }

  /** Goes into a directory that the parent does not have; does nothing for other entries. */
  #enterNew(path: string, now: Listing, index: number): void {
    if (enter(this.children, now.name(index))) this.#descend(path, now.names[index], true, false);
  }

  /** An entry of this name was there before and is there now. */
  #both({ path, now }: Level, index: number): void {
    const name = now.name(index), text = now.names[index];
    const entry = `${path}/${text}`;
    const { fd: parentDirectory } = this.parents!, { fd: childDirectory } = this.children;
    const parent = this.#old, child = this.#now;
    // An entry removed since the directory was listed counts as absent.
    if (isGone(tryStatat(childDirectory, name, child), "statx", name)) {
      return this.changes.add("D", entry);
    }
    if (isGone(tryStatat(parentDirectory, name, parent), "statx", name)) {
      return this.changes.add("A", entry);
    }
    const same = isSameEntry({ parentDirectory, childDirectory, name, parent, child });
    if (!same) this.changes.add("C", entry);
    if (!child.isDirectory || !enter(this.children, name)) return;
    this.#descend(path, text, !same, parent.isDirectory && enter(this.parents!, name));
  }
}

/** Goes down into a directory; false for other entries. */
function enter(stack: DirectoryStack, name: EntryName): boolean {
  return !isGone(stack.tryEnter(name), "openat", name);
}
