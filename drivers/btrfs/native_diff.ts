/**
 * Lists a layer's changes from the kernel's send stream, in a time that grows with the changes, not
 * with the layer.
 *
 * A read-only snapshot is made of both layers. The kernel compares the snapshots' trees, skipping
 * shared parts unread, and writes the commands that turn one into the other, without the data of
 * files. They are replayed on names (`replayed_tree.ts`), and the entries that they touched are
 * compared in the snapshots (`suspects.ts`). So the stream only tells which entries to compare, and
 * the result equals that of comparing the trees.
 *
 * The kernel compares any two subvolumes, and takes inodes with the same number and generation for
 * the same inode. That is right if the child is a snapshot of the parent, which its UUIDs prove,
 * and if no inode was created in the parent since: a new one may have the number and generation of
 * another inode of the child. There is no native diff if either condition is not met, or if there
 * is a subvolume in one of the layers (a snapshot has an empty directory in its place).
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
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import { boundedSend, SEND_LIMITS, type SendLimits } from "./bounded_send.ts";
import { FileNames } from "./file_names.ts";
import { ReplayedTree } from "./replayed_tree.ts";
import { SendStreamError } from "./send_stream.ts";
import { compareSuspects, type Suspects } from "./suspects.ts";

/**
 * The native diff of an open layer and its open parent, if there can be one.
 *
 * @param scratch returns the path of a directory to make for the snapshots
 * @param limits the trees are compared if the stream exceeds them
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
  // Checked again, because the layers may have changed meanwhile.
  if (!descends(child, parent)) return undefined;
  const changes = () => changesBetween(parentRoot, root, limits);
  return { kind: "listed", root: root.text, parentRoot: parentRoot.text, changes };
}

/** Whether a subvolume is proven to descend from another and to have all its inodes. */
function descends(child: number, parent: number): boolean {
  const { uuid, changed } = subvolumeInfo(parent), { parentUuid, created } = subvolumeInfo(child);
  if (parentUuid !== uuid) return false;
  // Usually the parent has not changed. A change may be only the times that reading it has set, so
  // the inodes are searched as well.
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
 * The entries that may differ between two open snapshots. `undefined` if the trees must be
 * compared: if the kernel refuses the stream, such as for paths longer than 4 KiB, or if the stream
 * takes too long or is invalid.
 */
function suspectsOf(parent: number, child: number, limits: SendLimits): Suspects | undefined {
  const deadline = performance.now() + limits.time;
  try {
    const tree = new ReplayedTree();
    const commands = boundedSend(child, subvolumeInfo(parent).id, deadline, limits);
    for (const command of commands) tree.apply(command);
    using names = new FileNames(child, deadline);
    return tree.suspects(names.of);
  } catch (error) {
    if (error instanceof SendStreamError || error instanceof SyscallError) return undefined;
    throw error;
  }
}
