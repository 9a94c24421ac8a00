/**
 * A layer's changes in the time that they take, not the layer: by what the kernel would send.
 *
 * Both layers are snapshotted read-only, the kernel compares the snapshots' trees, sharing unread what they
 * share, and writes the commands that turn one into the other, without the data of files. They are replayed
 * on names (`replayed_tree.ts`); what they touched is compared in the snapshots (`suspects.ts`). So the
 * stream only says where to look, and what is listed is what the tree comparison lists.
 *
 * The kernel compares any two subvolumes it is given, and takes inodes of the same number and generation for
 * the same ones. That holds where the child is a snapshot of the parent, which its UUIDs prove, and where the
 * parent has not changed since, so that it has no inode that the child cannot know. Where either is not so,
 * or where a subvolume lies in one of them (a snapshot has an empty directory there), there is no native diff.
 *
 * @module
 */
import { directoryPath, inodeNames } from "../../ffi/btrfs_search.ts";
import { sendChanges } from "../../ffi/btrfs_send.ts";
import { createSnapshot, nestedSubvolumes, subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { AT_FDCWD, close, memfd, O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { tryMkdirat } from "../../ffi/tree.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import type { Change } from "../../lib/changes.ts";
import type { NativeDiff, Scratch } from "../../lib/graph_driver.ts";
import { ReplayedTree } from "./replayed_tree.ts";
import { readSendStream } from "./send_stream.ts";
import { compareSuspects, type Suspects } from "./suspects.ts";
import { compareTrees } from "../../lib/compare.ts";

/**
 * The native diff of an open layer and its open parent, where there can be one.
 *
 * @param scratch gives the path of a directory to make for the snapshots
 */
export function nativeDiff(
  child: number,
  parent: number,
  scratch: Scratch,
): NativeDiff | undefined {
  if (!mayDescend(child, parent)) return undefined;
  const directory = scratch();
  unwrap(tryMkdirat(AT_FDCWD, directory, 0o700), "mkdir", directory);
  withFd(open(directory, O_RDONLY | O_DIRECTORY), (fd) => {
    createSnapshot(fd, "parent", parent, { readOnly: true });
    createSnapshot(fd, "child", child, { readOnly: true });
  });
  const root = `${directory}/child`, parentRoot = `${directory}/parent`;
  const changes = () => changesBetween(parentRoot, root);
  return { kind: "listed", root, parentRoot, changes };
}

/** Whether the child is proven to be what became of the parent as it is now. */
function mayDescend(child: number, parent: number): boolean {
  const from = subvolumeInfo(parent), to = subvolumeInfo(child);
  return to.parentUuid === from.uuid && from.changed <= to.created &&
    nestedSubvolumes(child).length === 0 && nestedSubvolumes(parent).length === 0;
}

function* changesBetween(parentPath: string, childPath: string): Generator<Change> {
  const parent = open(parentPath, O_RDONLY | O_DIRECTORY);
  try {
    const child = open(childPath, O_RDONLY | O_DIRECTORY);
    try {
      yield* compareSuspects(suspectsOf(parent, child), parent, child);
    } finally {
      close(child);
    }
  } finally {
    close(parent);
  }
}

/** What may differ between two open snapshots. */
function suspectsOf(parent: number, child: number): Suspects {
  // In memory: without data of files it is some hundred bytes for each changed entry.
  return withFd(memfd("veneer-send"), (stream) => {
    sendChanges(child, subvolumeInfo(parent).id, stream);
    const tree = new ReplayedTree();
    for (const command of readSendStream(stream)) tree.apply(command);
    return tree.suspects(new Links(child).namesOf);
  });
}

/** The names of files that have several. */
class Links {
  readonly #stat = new Stat();
  readonly #seen = new Set<bigint>();
  readonly #directories = new Map<bigint, string>();

  constructor(readonly subvolume: number) {}

  /** Every name of a file that has several, the first time that one of them is asked for. */
  readonly namesOf = (path: string): string[] => {
    const stat = this.#stat;
    if (tryStatat(this.subvolume, path.slice(1), stat) < 0) return [];
    if (stat.isDirectory || stat.links < 2 || this.#seen.has(stat.inode)) return [];
    this.#seen.add(stat.inode);
    return Array.from(
      inodeNames(this.subvolume, stat.inode),
      ({ directory, name }) => `/${this.#pathOf(directory)}${name}`,
    );
  };

  #pathOf(directory: bigint): string {
    let path = this.#directories.get(directory);
    if (path === undefined) {
      path = directoryPath(this.subvolume, directory);
      this.#directories.set(directory, path);
    }
    return path;
  }
}
