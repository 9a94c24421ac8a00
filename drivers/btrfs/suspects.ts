/**
 * The paths that may differ between two trees, and a comparison of the trees at these paths only.
 *
 * Not every suspect has changed: a directory's times change with every name in it, and an edit may
 * have been undone. So each is compared in both trees, by the rules of `entry_compare.ts`, and the
 * result is exactly that of comparing the whole trees. Only new or moved directories are walked.
 *
 * @module
 */
import { readListing } from "../../ffi/directory.ts";
import { type EntryName, entryName } from "../../ffi/entry_name.ts";
import { close } from "../../ffi/files.ts";
import { tryOpenDirectory } from "../../ffi/quiet_open.ts";
import { fstat, Stat, tryStatat } from "../../ffi/stat.ts";
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
  /** Whether the child's directory got this name after it was made. */
  isAdded = false;
  /** Whether names may be missing in the child's directory, or in the parent's since. */
  changed: "no" | "child" | "both" = "no";
  #below: Map<string, Suspect> | undefined;

  get below(): ReadonlyMap<string, Suspect> {
    return this.#below ?? NONE;
  }

  /** The suspect of a name in this directory. */
  at(name: string): Suspect {
    this.#below ??= new Map();
    let suspect = this.#below.get(name);
    if (suspect === undefined) this.#below.set(name, suspect = new Suspect());
    return suspect;
  }
}

const NONE: ReadonlyMap<string, Suspect> = new Map();

/** The suspects of two subvolumes, one of which is a snapshot of the other. */
export interface Suspects {
  readonly root: Suspect;
  /** Whether an inode has the same number in both, and is another one. */
  isReused(inode: bigint): boolean;
  /** Whether a file, the same inode in both, is known to have the same data. */
  hasSameData(inode: bigint): boolean;
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
  yield* new SuspectComparison(suspects, parents, children).run();
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

/** A name that the directory of only one tree has. */
const LOST = new Suspect();
LOST.suspected = true;

class SuspectComparison {
  readonly #changes = new ChangeList();
  readonly #levels: Level[] = [];
  readonly #old = new Stat();
  readonly #now = new Stat();

  constructor(
    readonly suspects: Suspects,
    readonly parents: DirectoryStack,
    readonly children: DirectoryStack,
  ) {}

  *run(): Generator<Change> {
    fstat(this.parents.fd, this.#old);
    fstat(this.children.fd, this.#now);
    this.#list(this.suspects.root, "");
    for (let level; (level = this.#levels.at(-1));) {
      if (level.next === level.names.length) this.#leave();
      else yield* this.#entry(level, level.names[level.next++]);
      yield* this.#changes.take();
    }
  }

  /** Begins with the suspects in the walk's current directories, whose `statx` was read last. */
  #list(suspect: Suspect, path: string): void {
    const suspects = suspect.below;
    const lost = this.#lost(suspect).filter((name) => !suspects.has(name));
    this.#levels.push({ path, suspects, names: [...suspects.keys(), ...lost].sort(), next: 0 });
  }

  #leave(): void {
    this.#levels.pop();
    if (this.#levels.length === 0) return;
    this.#changes.leave();
    this.parents.leave();
    this.children.leave();
  }

  *#entry(level: Level, text: string): Generator<Change> {
    const suspect = level.suspects.get(text) ?? LOST, path = `${level.path}/${text}`;
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
    const stayed = isOld && parent.inode === child.inode && !this.suspects.isReused(child.inode);
    const same = isOld && (!suspect.suspected || this.#isSame(name, stayed));
    if (!same) changes.add(isOld ? "C" : "A", path);
    if (!child.isDirectory) return;
    if (stayed && suspect.below.size === 0 && suspect.changed === "no") return;
    changes.enter(level.path, text, !same);
    if (stayed) this.#descend(suspect, name, `${level.path}/${text}`);
    else yield* this.#wholeTree(name, `${level.path}/${text}`, wasDirectory);
  }

  #isSame(name: EntryName, stayed: boolean): boolean {
    const parent = this.#old, child = this.#now;
    return isSameEntry({
      parentDirectory: this.parents.fd,
      childDirectory: this.children.fd,
      name,
      parent,
      child,
      hasSameData: () => stayed && this.suspects.hasSameData(child.inode),
    });
  }

  /** Goes down into a directory that is the same inode in both trees. */
  #descend(suspect: Suspect, name: EntryName, path: string): void {
    unwrap(this.parents.tryEnter(name), "openat", name);
    unwrap(this.children.tryEnter(name), "openat", name);
    this.#list(suspect, path);
  }

  /** The names that the walk's directory of only one tree has, and perhaps names that were added. */
  #lost(suspect: Suspect): string[] {
    const { changed } = suspect;
    if (changed === "no" || changed === "child" && !this.#lacksNames(suspect)) return [];
    const old = new Set(readListing(this.parents.fd).names);
    const now = new Set(readListing(this.children.fd).names);
    return [...old.symmetricDifference(now)];
  }

  /**
   * Whether the child's directory lacks names of the parent's. A directory's size is twice the
   * length of all its names, so most directories, to which names were only added, are not listed.
   * The kernel itself relies on it: it removes a directory if its size is 0.
   */
  #lacksNames({ below }: Suspect): boolean {
    let lost = (this.#old.size - this.#now.size) / 2;
    const added = below.entries().filter(([, { isAdded }]) => isAdded)
      .map(([text]) => entryName(text)).toArray();
    for (const name of added) lost += lengthOf(name);
    if (lost === 0) return false;
    const parent = this.#old;
    for (const name of added) {
      const replaces = !isGone(tryStatat(this.parents.fd, name, parent), "statx", name);
      if (replaces) lost -= lengthOf(name);
    }
    return lost !== 0;
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

/** The length of a name in bytes, without the NUL that ends it. */
const lengthOf = (name: EntryName) => name.length - 1;
