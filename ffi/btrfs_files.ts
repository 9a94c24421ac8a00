/**
 * The files in a subvolume's tree: when each inode and each piece of data was last recorded.
 *
 * The kernel never writes a block of a tree in place, so each block knows the transaction that
 * wrote it, and a search skips, unread, all blocks written before a given one. So the changes since
 * a snapshot are found in a time that grows with the changes, not with the tree.
 *
 * @module
 */
import {
  BTRFS_INODE_ITEM_KEY,
  INODE_ITEM,
  searchTree,
  type TreeItem,
  type TreeSearch,
} from "./btrfs_search.ts";
import { BTRFS_FIRST_FREE_OBJECTID } from "./btrfs_subvolume.ts";
import { layout } from "./struct.ts";

// `linux/btrfs_tree.h`.
export const BTRFS_EXTENT_DATA_KEY = 108;
/** The last inode of a subvolume, as 64 bits without sign; beyond are the tree's own objects. */
export const BTRFS_LAST_FREE_OBJECTID = -256n;
/** In the type of a file extent: its data is in the item itself. */
export const BTRFS_FILE_EXTENT_INLINE = 0;

/**
 * `struct btrfs_file_extent_item`, packed; the data of an inline one is where `disk_bytenr` would
 * be.
 */
export const FILE_EXTENT_ITEM = layout("struct btrfs_file_extent_item", 53, {
  generation: ["u64", 0],
  ram_bytes: ["u64", 8],
  type: ["u8", 20],
  disk_bytenr: ["u64", 21],
  disk_num_bytes: ["u64", 29],
});

/** An inode, as it stands in the tree. */
export interface InodeRecord {
  readonly type: "inode";
  readonly inode: bigint;
  /** The transaction that created it. */
  readonly made: bigint;
  /** The transaction that last recorded it. */
  readonly changed: bigint;
  /** The item; valid until the next record is asked for. */
  readonly item: TreeItem;
}

/** A piece of a file's data. */
export interface DataRecord {
  readonly type: "data";
  /** The transaction in which the data was first written, also if another file shared it later. */
  readonly written: bigint;
  /** Its size on disk, compressed or not, in bytes. */
  readonly stored: number;
  /** Where on disk; `undefined` if it lies in the tree itself. */
  readonly address: bigint | undefined;
}

/**
 * The search for all inodes of a subvolume and what belongs to them, in blocks written in a
 * transaction or later.
 */
export const inodesSince = (since: bigint): TreeSearch => ({
  tree: 0n,
  objectId: BTRFS_FIRST_FREE_OBJECTID,
  lastObjectId: BigInt.asUintN(64, BTRFS_LAST_FREE_OBJECTID),
  types: [BTRFS_INODE_ITEM_KEY, BTRFS_EXTENT_DATA_KEY],
  since,
});

/**
 * The records of files in the tree of an open subvolume, from blocks written in a transaction or
 * later; each inode comes before its data. Changes that only the kernel's memory has are not in the
 * tree yet: a commit of the file system, or a snapshot, writes them there.
 *
 * @param since the first transaction; 0 for all records
 */
export function* fileRecords(
  subvolume: number,
  since: bigint,
): Generator<InodeRecord | DataRecord> {
  for (const item of searchTree(subvolume, inodesSince(since))) {
    if (item.type === BTRFS_INODE_ITEM_KEY) yield inodeRecord(item);
    else if (item.type === BTRFS_EXTENT_DATA_KEY) {
      const record = dataRecord(item);
      if (record !== undefined) yield record;
    }
  }
}

const field = (name: keyof typeof INODE_ITEM.fields) => INODE_ITEM.fields[name][1];
const extentField = (name: keyof typeof FILE_EXTENT_ITEM.fields) =>
  FILE_EXTENT_ITEM.fields[name][1];

const viewOf = ({ data }: TreeItem) => new DataView(data.buffer, data.byteOffset, data.byteLength);

function inodeRecord(item: TreeItem): InodeRecord {
  const view = viewOf(item);
  return {
    type: "inode",
    inode: item.objectId,
    made: view.getBigUint64(field("generation"), true),
    changed: view.getBigUint64(field("transid"), true),
    item,
  };
}

/** `undefined` for a hole. */
function dataRecord(item: TreeItem): DataRecord | undefined {
  const view = viewOf(item);
  const written = view.getBigUint64(extentField("generation"), true);
  const data = extentField("disk_bytenr");
  if (view.getUint8(extentField("type")) === BTRFS_FILE_EXTENT_INLINE) {
    return { type: "data", written, stored: item.data.length - data, address: undefined };
  }
  const address = view.getBigUint64(data, true);
  if (address === 0n) return undefined;
  const stored = Number(view.getBigUint64(extentField("disk_num_bytes"), true));
  return { type: "data", written, stored, address };
}

/**
 * Whether an inode differs from the inode of the same number in another subvolume, by more than the
 * time of the last access.
 *
 * @param tree the other subvolume's id
 */
export function differsFrom(fd: number, tree: bigint, { inode, item }: InodeRecord): boolean {
  const types = [BTRFS_INODE_ITEM_KEY, BTRFS_INODE_ITEM_KEY] as const;
  for (const other of searchTree(fd, { tree, objectId: inode, types, offset: 0n })) {
    const isSame = (from: number, to: number) =>
      item.data.subarray(from, to).every((byte, i) => byte === other.data[from + i]);
    return !isSame(field("size"), field("atime")) || !isSame(field("ctime"), INODE_ITEM.size);
  }
  return true;
}
