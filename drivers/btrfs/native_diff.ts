/**
 * Lists a layer's changes from btrfs's own tree, in a time that grows with the changes, not with
 * the layer.
 *
 * The layer is a snapshot of its parent. Both share the blocks of their trees that did not change
 * since, and a block bears the transaction that wrote it. So the newer blocks tell which entries
 * may differ (`changed_inodes.ts`), and these are compared (`suspects.ts`): the tree only tells
 * which entries to compare, and the result equals that of comparing the two layers.
 *
 * The layer is read from a read-only snapshot, because it may be written to meanwhile. Making that
 * also writes the trees to disk. Of the parent no snapshot is needed: it has a child, so usually
 * nobody changes it, and changes that it had before are marked in its own tree.
 *
 * There is no native diff if the child's UUIDs do not prove that it is a snapshot of the parent, or
 * if there is a subvolume in one of the layers (a snapshot has an empty directory in its place).
 *
 * @module
 */
import { createSnapshot, nestedSubvolumes, subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { close, withFd } from "../../ffi/files.ts";
import type { Change } from "../../lib/tree/changes.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { type ConfinedPath, mkdir, openDirectory } from "../../lib/tree/confined.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import { MARKS_LIMIT, suspectsOf } from "./changed_inodes.ts";
import { compareSuspects } from "./suspects.ts";

/**
 * The native diff of an open layer and its parent, if there can be one.
 *
 * @param parentPath the path of the open `parent`
 * @param scratch returns the path of a directory to make for the snapshot
 * @param limit of the marks of changes; beyond it the trees are compared
 */
export function nativeDiff(
  child: number,
  parent: number,
  parentPath: ConfinedPath,
  scratch: () => ConfinedPath,
  limit = MARKS_LIMIT,
): NativeDiff | undefined {
  const { parentUuid, created } = subvolumeInfo(child);
  if (parentUuid !== subvolumeInfo(parent).uuid) return undefined;
  if (nestedSubvolumes(child).length > 0 || nestedSubvolumes(parent).length > 0) return undefined;
  const directory = scratch(), root = directory.join("child");
  mkdir(directory, 0o700);
  withFd(openDirectory(directory), (fd) => {
    createSnapshot(fd, entryName("child"), child, { readOnly: true });
  });
  const changes = () => changesBetween(parentPath, root, created, limit);
  return { kind: "listed", root: root.text, parentRoot: parentPath.text, changes };
}

function* changesBetween(
  parentPath: ConfinedPath,
  childPath: ConfinedPath,
  created: bigint,
  limit: number,
): Generator<Change> {
  const parent = openDirectory(parentPath);
  try {
    const child = openDirectory(childPath);
    try {
      const suspects = suspectsOf(parent, child, created, limit);
      if (suspects === undefined) yield* compareTrees(parent, child);
      else yield* compareSuspects(suspects, parent, child);
    } finally {
      close(child);
    }
  } finally {
    close(parent);
  }
}
