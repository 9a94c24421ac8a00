/**
 * btrfs's own trees: searching them by key, finding the names of an inode, opening it by its number.
 *
 * A tree is a sorted map from keys (object id, type, offset) to items. The calls need
 * CAP_SYS_ADMIN.
 *
 * @module
 */
import { decode } from "./cstring.ts";
import { BTRFS_FIRST_FREE_OBJECTID, BTRFS_IOCTL_MAGIC } from "./btrfs_subvolume.ts";
import { ENOENT, EOVERFLOW, ESTALE } from "./errno.ts";
import { O_DIRECTORY, O_RDONLY, tryOpenByHandle } from "./files.ts";
import { iowr, tryIoctl } from "./ioctl.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

// Trees and types of items: `linux/btrfs_tree.h`.
export const BTRFS_ROOT_TREE_OBJECTID = 1n;
export const BTRFS_QUOTA_TREE_OBJECTID = 8n;
export const BTRFS_INODE_ITEM_KEY = 1;
export const BTRFS_INODE_REF_KEY = 12;
export const BTRFS_INODE_EXTREF_KEY = 13;
export const BTRFS_ROOT_BACKREF_KEY = 144;

/** `struct btrfs_ioctl_search_args_v2` without the items that follow it. */
export const SEARCH_ARGS_V2 = layout("struct btrfs_ioctl_search_args_v2", 112, {
  "key.tree_id": ["u64", 0],
  "key.min_objectid": ["u64", 8],
  "key.max_objectid": ["u64", 16],
  "key.min_offset": ["u64", 24],
  "key.max_offset": ["u64", 32],
  "key.min_transid": ["u64", 40],
  "key.max_transid": ["u64", 48],
  "key.min_type": ["u32", 56],
  "key.max_type": ["u32", 60],
  "key.nr_items": ["u32", 64],
  buf_size: ["u64", 104],
});

/** `struct btrfs_ioctl_search_header`: before each item. */
export const SEARCH_HEADER = layout("struct btrfs_ioctl_search_header", 32, {
  transid: ["u64", 0],
  objectid: ["u64", 8],
  offset: ["u64", 16],
  type: ["u32", 24],
  len: ["u32", 28],
});

export const BTRFS_IOC_TREE_SEARCH_V2 = iowr(BTRFS_IOCTL_MAGIC, 17, SEARCH_ARGS_V2.size);

/** The key of an item: its place in a tree. */
interface TreeKey {
  readonly objectId: bigint;
  readonly type: number;
  readonly offset: bigint;
}

/** An item of a tree. */
export interface TreeItem extends TreeKey {
  /** Valid until the next item is asked for. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Which items {@linkcode searchTree} gives: those between two keys, both included. */
export interface TreeSearch {
  /** A tree's id; 0 for the subvolume that the descriptor lies in. */
  readonly tree: bigint;
  /** The first object. */
  readonly objectId: bigint;
  /**
   * The last object, if it is not the first: of the objects between them, items of all types are
   * included.
   */
  readonly lastObjectId?: bigint;
  /** The first and the last type of item. */
  readonly types: readonly [first: number, last: number];
  /** The only offset; any offset if left out. */
  readonly offset?: bigint;
  /** Skip blocks of the tree last written before this transaction. */
  readonly since?: bigint;
}

const MAX_U64 = BigInt.asUintN(64, -1n);
const PAGE = 64 << 10;
/** Enough for most single items. */
const SMALL_PAGE = 1 << 10;

/** The items of a tree, in the order of their keys; empty if the tree does not exist. */
export function* searchTree(fd: number, search: TreeSearch): Generator<TreeItem> {
  for (const page of searchPages(fd, search)) {
    for (let at = page.first; at !== page.end; at = page.after(at)) yield page.item(at);
  }
}

/** The pages of a search: for a search of many items, only a few of which are to be read whole. */
export function* searchPages(fd: number, search: TreeSearch): Generator<TreePage> {
  const { tree, types: [type, lastType], offset, since = 0n } = search;
  const page = offset === undefined ? PAGE : SMALL_PAGE;
  let args = new Struct(SEARCH_ARGS_V2, SEARCH_ARGS_V2.size + page);
  let next: TreeKey | undefined = { objectId: search.objectId, type, offset: offset ?? 0n };
  while (next !== undefined) {
    args.set("key.tree_id", tree)
      .set("key.min_objectid", next.objectId)
      .set("key.max_objectid", search.lastObjectId ?? search.objectId)
      .set("key.min_type", next.type).set("key.max_type", lastType)
      .set("key.min_offset", next.offset).set("key.max_offset", offset ?? MAX_U64)
      .set("key.min_transid", since).set("key.max_transid", MAX_U64)
      .set("key.nr_items", 0xffff_ffff)
      .set("buf_size", args.bytes.length - SEARCH_ARGS_V2.size);
    const result = tryIoctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args.bytes);
    if (result === -ENOENT) return;
    if (result === -EOVERFLOW) { // One item is larger than the buffer: the kernel returns its size.
      args = new Struct(SEARCH_ARGS_V2, SEARCH_ARGS_V2.size + Number(args.big("buf_size")));
      continue;
    }
    unwrap(result, "ioctl BTRFS_IOC_TREE_SEARCH_V2");
    const count = args.get("key.nr_items");
    if (count === 0) return;
    const found = new TreePage(args.bytes, count);
    yield found;
    next = keyAfter(found.item(found.last));
  }
}

/** The smallest key above another. */
function keyAfter({ objectId, type, offset }: TreeKey): TreeKey | undefined {
  if (offset < MAX_U64) return { objectId, type, offset: offset + 1n };
  if (type < 0xff) return { objectId, type: type + 1, offset: 0n };
  if (objectId < MAX_U64) return { objectId: objectId + 1n, type: 0, offset: 0n };
  return undefined;
}

const HEADER = SEARCH_HEADER.fields;

/** Items that the kernel gave at once. An item is known by the place of its header. */
export class TreePage {
  readonly first = SEARCH_ARGS_V2.size;
  /** The last item. */
  readonly last: number;
  /** The place after it. */
  readonly end: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  /** @param count the number of items, at least 1 */
  constructor(bytes: Uint8Array<ArrayBuffer>, count: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    let last = this.first;
    for (let i = 1; i < count; i++) last = this.after(last);
    this.last = last;
    this.end = this.after(last);
  }

  after(at: number): number {
    return at + SEARCH_HEADER.size + this.#view.getUint32(at + HEADER.len[1], true);
  }

  type(at: number): number {
    return this.#view.getUint32(at + HEADER.type[1], true);
  }

  /** A 64-bit number in an item's data, as far as a number can hold it. */
  number(at: number, offset: number): number {
    const place = at + SEARCH_HEADER.size + offset;
    return this.#view.getUint32(place, true) + this.#view.getUint32(place + 4, true) * 2 ** 32;
  }

  /** The item, whose data is valid until the next page is asked for. */
  item(at: number): TreeItem {
    const view = this.#view;
    return {
      objectId: view.getBigUint64(at + HEADER.objectid[1], true),
      type: this.type(at),
      offset: view.getBigUint64(at + HEADER.offset[1], true),
      data: this.#bytes.subarray(at + SEARCH_HEADER.size, this.after(at)),
    };
  }
}

/**
 * A copy of an item as a structure; fields that an older kernel's shorter item does not have are
 * zero.
 */
export function itemStruct<Name extends string>(
  layoutOfItem: ReturnType<typeof layout<Name>>,
  item: TreeItem,
): Struct<Name> {
  const struct = new Struct(layoutOfItem);
  struct.bytes.set(item.data.subarray(0, layoutOfItem.size));
  return struct;
}

/** `struct btrfs_root_ref`, packed; the name follows. */
export const ROOT_REF = layout("struct btrfs_root_ref", 18, {
  dirid: ["u64", 0],
  sequence: ["u64", 8],
  name_len: ["u16", 16],
});

/** The name of a nested subvolume in the one around it; `undefined` if it was removed. */
export function nestedName(fd: number, id: bigint, outer: bigint): string | undefined {
  const search = {
    tree: BTRFS_ROOT_TREE_OBJECTID,
    objectId: id,
    types: [BTRFS_ROOT_BACKREF_KEY, BTRFS_ROOT_BACKREF_KEY] as const,
    offset: outer,
  };
  for (const item of searchTree(fd, search)) {
    const length = itemStruct(ROOT_REF, item).get("name_len");
    return decode(item.data.subarray(ROOT_REF.size, ROOT_REF.size + length));
  }
  return undefined;
}

/** `struct btrfs_inode_item`, packed. */
export const INODE_ITEM = layout("struct btrfs_inode_item", 160, {
  generation: ["u64", 0],
  transid: ["u64", 8],
  size: ["u64", 16],
  nlink: ["u32", 40],
  mode: ["u32", 52],
  atime: ["u8", 112],
  ctime: ["u8", 124],
});

/** The type of a handle that names an inode and its subvolume: `linux/exportfs.h` of the kernel. */
const FILEID_BTRFS_WITHOUT_PARENT = 0x4d;

/**
 * Opens a directory by its inode and the id of its subvolume, wherever that lies in the file system
 * of `fd`, raw: ESTALE if it does not exist. No path is walked, so the directory is found however
 * long its path is, and under a mount that covers it.
 *
 * @param inode the subvolume's root if left out
 */
export function tryOpenInSubvolume(
  fd: number,
  subvolume: bigint,
  inode = BTRFS_FIRST_FREE_OBJECTID,
): number {
  const types = [BTRFS_INODE_ITEM_KEY, BTRFS_INODE_ITEM_KEY] as const;
  for (const item of searchTree(fd, { tree: subvolume, objectId: inode, types })) {
    // `struct btrfs_fid` of `fs/btrfs/export.h`: inode, subvolume, generation of the inode.
    const handle = new Uint8Array(20);
    const view = new DataView(handle.buffer);
    view.setBigUint64(0, inode, true);
    view.setBigUint64(8, subvolume, true);
    view.setUint32(16, Number(itemStruct(INODE_ITEM, item).big("generation") & 0xffff_ffffn), true);
    return tryOpenByHandle(fd, FILEID_BTRFS_WITHOUT_PARENT, handle, O_RDONLY | O_DIRECTORY);
  }
  return -ESTALE;
}

/** `struct btrfs_inode_ref`, packed; the name follows, and after it, perhaps, the next one. */
export const INODE_REF = layout("struct btrfs_inode_ref", 10, {
  index: ["u64", 0],
  name_len: ["u16", 8],
});

/** `struct btrfs_inode_extref`, packed; the same. */
export const INODE_EXTREF = layout("struct btrfs_inode_extref", 18, {
  parent_objectid: ["u64", 0],
  index: ["u64", 8],
  name_len: ["u16", 16],
});

/** A name of an inode: its directory and its text. */
export interface InodeName {
  /** The directory's inode. */
  readonly directory: bigint;
  readonly name: string;
}

/** All names of an inode of the subvolume that `fd` lies in. */
export function* inodeNames(fd: number, inode: bigint): Generator<InodeName> {
  const types = [BTRFS_INODE_REF_KEY, BTRFS_INODE_EXTREF_KEY] as const;
  for (const item of searchTree(fd, { tree: 0n, objectId: inode, types })) yield* itemNames(item);
}

/** The names in an item of one of these two types. */
export function* itemNames({ type, offset, data }: TreeItem): Generator<InodeName> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const extended = type === BTRFS_INODE_EXTREF_KEY;
  const { size, fields } = extended ? INODE_EXTREF : INODE_REF;
  for (let at = 0; at + size <= data.length;) {
    const start = at + size;
    const end = start + view.getUint16(at + fields.name_len[1], true);
    const directory = extended ? view.getBigUint64(at, true) : offset;
    yield { directory, name: decode(data.subarray(start, end)) };
    at = end;
  }
}
