/**
 * A layer's changes in the time that they take, not the layer: by what the kernel would send.
 *
 * Both layers are snapshotted read-only, the kernel compares the snapshots' trees, sharing unread
 * what they share, and writes the commands that turn one into the other, without the data of files.
 * They are replayed on names (`replayed_tree.ts`); what they touched is compared in the snapshots
 * (`suspects.ts`). So the stream only says where to look, and what is listed is what the tree
 * comparison lists.
 *
 * The kernel compares any two subvolumes it is given, and takes inodes of the same number and
 * generation for the same ones. That holds if the child is a snapshot of the parent, which its
 * UUIDs prove, and if no inode was made in the parent since: one that was may have the number and
 * generation of another one of the child. If either is not so, or if a subvolume lies in one of
 * them (a snapshot has an empty directory there), there is no native diff.
 *
 * @module
 */
import { hasInodeAfter } from "../../ffi/btrfs_search.ts";
import { createSnapshot, nestedSubvolumes, subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { close, withFd } from "../../ffi/files.ts";
import type { Change } from "../../lib/tree/changes.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { type ConfinedPath, mkdir, openDirectory } from "../../lib/tree/confined.ts";
import type { NativeDiff } from "../../lib/graph/backend.ts";
import { boundedSend, SEND_LIMITS, type SendLimits } from "./bounded_send.ts";
import { FileNames } from "./file_names.ts";
import { ReplayedTree } from "./replayed_tree.ts";
import { SendStreamError } from "./send_stream.ts";
import { compareSuspects, type Suspects } from "./suspects.ts";

/**
 * The native diff of an open layer and its open parent, if there can be one.
 *
 * @param scratch gives the path of a directory to make for the snapshots
 * @param limits beyond which the trees are compared
 */
export function nativeDiff(
  child: number,
  parent: number,
  scratch: () => ConfinedPath,
  limits = SEND_LIMITS,
): NativeDiff | undefined {
  if (!descends(child, parent)) return undefined;
  if (nestedSubvolumes(child).length > 0 || nestedSubvolumes(parent).length > 0) return undefined;
  const directory = scratch();
  const root = directory.join("child"), parentRoot = directory.join("parent");
  mkdir(directory, 0o700);
  withFd(openDirectory(directory), (fd) => {
    createSnapshot(fd, entryName("parent"), parent, { readOnly: true });
    createSnapshot(fd, entryName("child"), child, { readOnly: true });
  });
  // Again, for what happened meanwhile.
  if (!descends(child, parent)) return undefined;
  const changes = () => changesBetween(parentRoot, root, limits);
  return { kind: "listed", root: root.text, parentRoot: parentRoot.text, changes };
}

/** Whether a subvolume is proven to be what became of another, whose inodes it knows all. */
function descends(child: number, parent: number): boolean {
  const { uuid, changed } = subvolumeInfo(parent), { parentUuid, created } = subvolumeInfo(child);
  if (parentUuid !== uuid) return false;
  // Most often nothing has changed. If something has, reading the parent may be all: that sets
  // times.
  return changed <= created || !hasInodeAfter(parent, created);
}

function* changesBetween(
  parentPath: ConfinedPath,
  childPath: ConfinedPath,
  limits: SendLimits,
): Generator<Change> {
  const parent = openDirectory(parentPath);
  try {
    const child = openDirectory(childPath);
    try {
      const suspects = suspectsOf(parent, child, limits);
      if (suspects === undefined) yield* compareTrees(parent, child);
      else yield* compareSuspects(suspects, parent, child);
    } finally {
      close(child);
    }
  } finally {
    close(parent);
  }
}

/**
 * What may differ between two open snapshots; `undefined` if the stream cannot be had, such as with
 * paths longer than 4 KiB, takes too long or is not understood: then the trees have to be compared.
 */
function suspectsOf(parent: number, child: number, limits: SendLimits): Suspects | undefined {
  const deadline = performance.now() + limits.time;
  try {
    const tree = new ReplayedTree();
    const commands = boundedSend(child, subvolumeInfo(parent).id, deadline, limits);
    for (const command of commands) tree.apply(command);
    return tree.suspects(new FileNames(child, deadline).of);
  } catch (error) {
    if (error instanceof SendStreamError || error instanceof SyscallError) return undefined;
    throw error;
  }
}
