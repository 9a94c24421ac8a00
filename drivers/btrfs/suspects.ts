/**
 * The paths that may differ between two trees, and a comparison of the trees at these paths only.
 *
 * Not every suspect has changed: a directory's times change with every name in it, and an edit may
 * have been undone. So each is compared in both trees, by the rules of `entry_compare.ts`, and the
 * result is exactly that of comparing the whole trees. Only new or moved directories are walked.
 *
 * @module
 */
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { close } from "../../ffi/files.ts";
import { tryOpenDirectory } from "../../ffi/quiet_open.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { ChangeList } from "../../lib/tree/change_list.ts";
import type { Change } from "../../lib/tree/changes.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { DirectoryStack } from "../../lib/tree/directory_stack.ts";
import { isGone } from "../../lib/tree/gone.ts";
import { isSameEntry } from "../../lib/tree/entry_compare.ts";

/** A path that may differ, or a directory above one. */
export class Suspect {
  /** Whether the entry itself may differ. */
  suspected = false;
  /**
   * Whether the parent has the same directory at this path: then entries that are not suspects are
   * the same.
   */
  stayed = true;
  /** Whether its data may differ, too. */
  rewritten = false;
  readonly below = new Map<string, Suspect>();
}

/** A tree of suspects. */
export class Suspects {
  readonly root = new Suspect();

  /** The suspect at a path, which begins with a slash. */
  add(path: string): Suspect {
    let suspect = this.root;
    for (const name of path.slice(1).split("/")) {
      let next = suspect.below.get(name);
      if (next === undefined) suspect.below.set(name, next = new Suspect());
      suspect = next;
    }
    suspect.suspected = true;
    return suspect;
  }
}

/**
 * The changes among the suspects that turn the parent into the child, in the order of
 * `comparePaths`.
 *
 * @param parent an open directory, like `child`; the caller closes both after the iteration
 */
export function* compareSuspects(
  suspects: Suspects,
  parent: number,
  child: number,
): Generator<Change> {
  using parents = new DirectoryStack(parent);
  using children = new DirectoryStack(child);
  yield* new SuspectComparison(parents, children).run(suspects.root);
}

/** A directory that both trees have, on the way down to the walk's position. */
interface Level {
  /** A new string, not the one of a change: see `change_list.ts`. */
  readonly path: string;
  readonly suspects: ReadonlyMap<string, Suspect>;
  /** The sorted names of the suspects. */
  readonly names: readonly string[];
  next: number;
}

class SuspectComparison {
  readonly #changes = new ChangeList();
  readonly #levels: Level[] = [];
  readonly #old = new Stat();
  readonly #now = new Stat();

  constructor(readonly parents: DirectoryStack, readonly children: DirectoryStack) {}

  *run(root: Suspect): Generator<Change> {
    this.#list(root, "");
    for (let level; (level = this.#levels.at(-1));) {
      if (level.next === level.names.length) this.#leave();
      else yield* this.#entry(level, level.names[level.next++]);
      yield* this.#changes.take();
    }
  }

  /** Begins with the suspects in the walk's current directories. */
  #list({ below }: Suspect, path: string): void {
    this.#levels.push({ path, suspects: below, names: [...below.keys()].sort(), next: 0 });
  }

  #leave(): void {
    this.#levels.pop();
    if (this.#levels.length === 0) return;
    this.#changes.leave();
    this.parents.leave();
    this.children.leave();
  }

  *#entry(level: Level, text: string): Generator<Change> {
    const suspect = level.suspects.get(text)!, path = `${level.path}/${text}`;
    const name = entryName(text);
    const changes = this.#changes;
    const parent = this.#old, child = this.#now;
    const isOld = !isGone(tryStatat(this.parents.fd, name, parent), "statx", name);
    const isNow = !isGone(tryStatat(this.children.fd, name, child), "statx", name);
    if (!isNow) {
      if (isOld) changes.add("D", path);
      return;
    }
    const wasDirectory = isOld && parent.isDirectory;
    const same = isOld && (!suspect.suspected || this.#isSame(suspect, name));
    if (!same) changes.add(isOld ? "C" : "A", path);
    if (!child.isDirectory) return;
    const whole = !wasDirectory || !suspect.stayed;
    if (!whole && suspect.below.size === 0) return;
    changes.enter(level.path, text, !same);
    if (whole) yield* this.#wholeTree(name, `${level.path}/${text}`, wasDirectory);
    else this.#descend(suspect, name, `${level.path}/${text}`);
  }

  #isSame({ rewritten }: Suspect, name: EntryName): boolean {
    const parent = this.#old, child = this.#now;
    return isSameEntry({
      parentDirectory: this.parents.fd,
      childDirectory: this.children.fd,
      name,
      parent,
      child,
      sameData: !rewritten && parent.inode === child.inode,
    });
  }

  /** Goes down into a directory that both trees have. */
  #descend(suspect: Suspect, name: EntryName, path: string): void {
    unwrap(this.parents.tryEnter(name), "openat", name);
    unwrap(this.children.tryEnter(name), "openat", name);
    this.#list(suspect, path);
  }

  /** Compares everything in a directory that is new, or that replaces another one. */
  *#wholeTree(
    name: EntryName,
    path: string,
    wasDirectory: boolean,
  ): Generator<Change> {
    const changes = this.#changes;
    const child = openDirectory(this.children.fd, name);
    const parent = wasDirectory ? openDirectory(this.parents.fd, name) : undefined;
    try {
      for (const change of compareTrees(parent, child)) {
        changes.add(change.kind, path + change.path);
        yield* changes.take();
      }
    } finally {
      changes.leave();
      close(child);
      if (parent !== undefined) close(parent);
    }
  }
}

function openDirectory(directory: number, name: EntryName): number {
  return unwrap(tryOpenDirectory(directory, name), "openat", name);
}
