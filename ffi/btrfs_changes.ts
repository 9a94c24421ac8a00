/**
 * The inodes and names of a subvolume that were made or changed since a transaction, and the
 * extents of its files.
 *
 * The search passes over blocks that are older (`btrfs_files.ts`). A block holds many items: which of
 * them are new is told by the items themselves.
 *
 * @module
 */
import { BTRFS_EXTENT_DATA_KEY, FILE_EXTENT_ITEM, inodesSince } from "./btrfs_files.ts";
import { decode } from "./cstring.ts";
import {
  BTRFS_INODE_EXTREF_KEY,
  BTRFS_INODE_ITEM_KEY,
  BTRFS_INODE_REF_KEY,
  INODE_ITEM,
  type InodeName,
  inodeNames,
  itemNames,
  itemStruct,
  searchPages,
  searchTree,
  type TreeItem,
} from "./btrfs_search.ts";
import { isSameMemory } from "./memory.ts";
import { S_IFDIR, S_IFMT } from "./names.ts";
import { layout } from "./struct.ts";

// `linux/btrfs_tree.h`.
export const BTRFS_DIR_INDEX_KEY = 96;

/** `struct btrfs_dir_item`, packed; the name follows. */
export const DIR_ITEM = layout("struct btrfs_dir_item", 30, {
  transid: ["u64", 17],
  name_len: ["u16", 27],
});

/** An inode that was made or changed. */
export interface ChangedInode {
  readonly kind: "inode";
  readonly inode: bigint;
  /** Whether it was made since. */
  readonly isNew: boolean;
  readonly isDirectory: boolean;
  /** All its names; none of a new one that is no directory, since each was added. */
  readonly names: readonly InodeName[];
}

/** A name that was added to a directory. */
export interface AddedName extends InodeName {
  readonly kind: "name";
}

/**
 * The inodes and names that were made or changed after a transaction, in the subvolume that `fd`
 * lies in. Changes that are not committed yet may be missing; a snapshot has them all.
 */
export function* changedSince(
  fd: number,
  transaction: bigint,
): Generator<ChangedInode | AddedName> {
  const newest = Number(transaction);
  /** The inode whose names are being read. */
  let open: OpenInode | undefined;
  for (const page of searchPages(fd, inodesSince(transaction + 1n))) {
    for (let at = page.first; at !== page.end; at = page.after(at)) {
      const type = page.type(at);
      if (open !== undefined && !NAME_TYPES.includes(type)) {
        yield closed(fd, open);
        open = undefined;
      }
      if (type === BTRFS_INODE_ITEM_KEY) {
        if (page.number(at, INODE_ITEM.fields.transid[1]) > newest) {
          open = openInode(page.item(at), transaction);
        }
      } else if (type === BTRFS_DIR_INDEX_KEY) {
        if (page.number(at, DIR_ITEM.fields.transid[1]) > newest) yield addedName(page.item(at));
      } else if (open !== undefined) {
        const item = page.item(at);
        if (item.objectId === open.inode) open.names.push(...itemNames(item));
      }
    }
  }
  if (open !== undefined) yield closed(fd, open);
}

/** The types of items that hold an inode's names, and follow the inode's own. */
const NAME_TYPES = [BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY];

function addedName(item: TreeItem): AddedName {
  const length = itemStruct(DIR_ITEM, item).get("name_len");
  const name = decode(item.data.subarray(DIR_ITEM.size, DIR_ITEM.size + length));
  return { kind: "name", directory: item.objectId, name };
}

interface OpenInode {
  readonly inode: bigint;
  readonly isNew: boolean;
  readonly isDirectory: boolean;
  readonly links: number;
  readonly names: InodeName[];
}

function openInode(item: TreeItem, transaction: bigint): OpenInode {
  const found = itemStruct(INODE_ITEM, item);
  return {
    inode: item.objectId,
    isNew: found.big("generation") > transaction,
    isDirectory: (found.get("mode") & S_IFMT) === S_IFDIR,
    links: found.get("nlink"),
    names: [],
  };
}

function closed(fd: number, open: OpenInode): ChangedInode {
  const { inode, isNew, isDirectory, links } = open;
  let { names } = open;
  if (isNew && !isDirectory) names = [];
  // They may be in an older block, which the search passed over.
  else if (names.length < links) names = [...inodeNames(fd, inode)];
  return { kind: "inode", inode, isNew, isDirectory, names };
}

/**
 * Whether a file lies at the same places of the disk in two subvolumes, and so has the same data.
 * If it does not, its data may be the same nevertheless.
 */
export function hasSameExtents(fd: number, other: number, inode: bigint): boolean {
  const types = [BTRFS_EXTENT_DATA_KEY, BTRFS_EXTENT_DATA_KEY] as const;
  const search = { tree: 0n, objectId: inode, types };
  const others = searchTree(other, search);
  const [, start] = FILE_EXTENT_ITEM.fields.ram_bytes;
  for (const { offset, data } of searchTree(fd, search)) {
    const { value } = others.next();
    if (value === undefined || value.offset !== offset) return false;
    if (value.data.length !== data.length) return false;
    if (!isSameMemory(data.subarray(start), value.data.subarray(start), data.length - start)) {
      return false;
    }
  }
  return others.next().done === true;
}
