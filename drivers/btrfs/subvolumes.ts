/**
 * Removes subvolumes with all subvolumes in them.
 *
 * The kernel's root tree lists the nested subvolumes, and everything is opened by number. No
 * directory is read, so long paths, mounts and links inside a layer do not matter. A read-only
 * subvolume with others in it is made writable first, because nothing can be removed from a
 * read-only one. A removal that was interrupted after any step can start again.
 *
 * @module
 */
import {
  isReadOnly,
  nestedSubvolumes,
  setReadOnly,
  subvolumeInfo,
  tryDestroySubvolume,
} from "../../ffi/btrfs_subvolume.ts";
import { nestedName, tryOpenInSubvolume } from "../../ffi/btrfs_search.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { ELOOP, ENOENT, ENOTDIR, ESTALE } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, tryOpenat, withFd } from "../../ffi/files.ts";
import { readNames } from "../../ffi/directory.ts";
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import {
  type ConfinedPath,
  removeTree,
  tryOpen,
  unlink,
  unwrapConfined,
} from "../../lib/tree/confined.ts";
import { removeTreeAt } from "../../lib/tree/remove_tree.ts";
import { isSubvolume } from "./layout.ts";

/**
 * Removes the entry of a name in an open directory: a subvolume and everything in it, or a plain
 * tree.
 *
 * @param removing called with each subvolume's id right before its removal
 */
export function removeSubvolume(
  directory: number,
  name: string,
  removing: (id: bigint) => void,
): void {
  const fd = tryOpenat(directory, entryName(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd === -ENOENT) return;
  if (fd === -ENOTDIR) return removeTreeAt(directory, name);
  const plain = withFd(unwrap(fd, "open", name), (subvolume) => {
    if (!isSubvolume(subvolume)) return true;
    removeNested(subvolume, removing);
    removing(subvolumeInfo(subvolume).id);
    return false;
  });
  if (plain) return removeTreeAt(directory, name);
  destroy(directory, name);
}

/**
 * Removes a staging directory with the subvolumes in it.
 *
 * @param doomer returns the callback for each subvolume, as for {@linkcode removeSubvolume}
 * @returns false if there is no such entry
 */
export function removeStaged(path: ConfinedPath, doomer: () => (id: bigint) => void): boolean {
  const opened = tryOpen(path, O_RDONLY | O_DIRECTORY);
  if (opened === -ENOENT) return false;
  if (opened === -ENOTDIR || opened === -ELOOP) {
    removeTree(path);
    return true;
  }
  withFd(unwrapConfined(opened, "open", path), (staged) => {
    const removing = doomer();
    for (const name of readNames(staged)) removeSubvolume(staged, name, removing);
  });
  unlink(path, AT_REMOVEDIR);
  return true;
}

/** A subvolume in another one. */
interface Nested {
  readonly id: bigint;
  /** The subvolume around it, and the inode number of the directory there that contains it. */
  readonly outer: bigint;
  readonly directory: bigint;
  /** Whether its nested subvolumes were looked up. */
  isSearched: boolean;
}

/**
 * Removes the subvolumes in an open one, innermost first. Containers can nest them to any depth, so
 * only the numbers of pending subvolumes and directories are kept, and each is opened by its
 * number.
 */
function removeNested(root: number, removing: (id: bigint) => void): void {
  const left = nestedIn(root);
  for (let nested; (nested = left.at(-1));) {
    const { id, outer, directory } = nested;
    if (!nested.isSearched) {
      nested.isSearched = true;
      withOpened(
        tryOpenInSubvolume(root, id),
        `subvolume ${id}`,
        (inner) => nestedIn(inner).forEach((further) => left.push(further)),
      );
      continue;
    }
    left.pop();
    const name = nestedName(root, id, outer);
    if (name === undefined) continue;
    removing(id);
    withOpened(
      tryOpenInSubvolume(root, outer, directory),
      `directory ${directory} of subvolume ${outer}`,
      (fd) => destroy(fd, name),
    );
  }
}

/** The subvolumes directly in an open one, which is made writable for their removal. */
function nestedIn(subvolume: number): Nested[] {
  const nested = nestedSubvolumes(subvolume);
  if (nested.length === 0) return [];
  // This costs a commit, so it is done only if something is to be removed from it.
  if (isReadOnly(subvolume)) setReadOnly(subvolume, false);
  const outer = subvolumeInfo(subvolume).id;
  return nested.map(({ id, directory }) => ({ id, outer, directory, isSearched: false }));
}

/** Runs `use` on a directory opened by its number; does nothing if it no longer exists. */
function withOpened(opened: number, what: string, use: (fd: number) => void): void {
  if (opened !== -ESTALE) withFd(unwrap(opened, "open_by_handle_at", what), use);
}

function destroy(directory: number, name: string): void {
  const result = tryDestroySubvolume(directory, entryName(name));
  if (result !== -ENOENT) unwrap(result, "ioctl BTRFS_IOC_SNAP_DESTROY", name);
}
