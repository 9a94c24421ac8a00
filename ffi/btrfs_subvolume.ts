/**
 * btrfs subvolumes and snapshots: making, describing, removing.
 *
 * A subvolume is a tree of its own; in a directory it looks like one, with inode 256. Making a
 * subvolume or a snapshot ends in a commit of the transaction, so the subvolume and all earlier
 * changes of metadata are on disk when the call returns. Removing one does not: the kernel frees
 * the space later.
 *
 * @module
 */
import { type EntryName, nameText } from "./entry_name.ts";
import { EOVERFLOW } from "./errno.ts";
import { ioctl, ior, iow, tryIoctl } from "./ioctl.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `linux/btrfs.h`. */
export const BTRFS_IOCTL_MAGIC = 0x94;

/** The inode of a subvolume's root: `linux/btrfs_tree.h`. */
export const BTRFS_FIRST_FREE_OBJECTID = 256n;

/** `struct btrfs_ioctl_vol_args`. */
export const VOL_ARGS = layout("struct btrfs_ioctl_vol_args", 4096, {
  fd: ["i64", 0],
  name: ["u8", 8],
});

/** `struct btrfs_ioctl_vol_args_v2`. */
export const VOL_ARGS_V2 = layout("struct btrfs_ioctl_vol_args_v2", 4096, {
  fd: ["i64", 0],
  transid: ["u64", 8],
  flags: ["u64", 16],
  name: ["u8", 56],
});

/** `struct btrfs_ioctl_get_subvol_info_args`. */
export const GET_SUBVOL_INFO_ARGS = layout("struct btrfs_ioctl_get_subvol_info_args", 504, {
  treeid: ["u64", 0],
  name: ["u8", 8],
  parent_id: ["u64", 264],
  dirid: ["u64", 272],
  generation: ["u64", 280],
  flags: ["u64", 288],
  uuid: ["u8", 296],
  parent_uuid: ["u8", 312],
  received_uuid: ["u8", 328],
  ctransid: ["u64", 344],
  otransid: ["u64", 352],
  "otime.sec": ["u64", 392],
  "otime.nsec": ["u32", 400],
});

/**
 * `struct btrfs_ioctl_get_subvol_rootref_args`; an element of `rootref` is a tree's id and a
 * directory's.
 */
export const GET_SUBVOL_ROOTREF_ARGS = layout("struct btrfs_ioctl_get_subvol_rootref_args", 4096, {
  min_treeid: ["u64", 0],
  "rootref[0].treeid": ["u64", 8],
  "rootref[0].dirid": ["u64", 16],
  num_items: ["u8", 4088],
});

export const BTRFS_IOC_SUBVOL_CREATE = iow(BTRFS_IOCTL_MAGIC, 14, VOL_ARGS.size);
export const BTRFS_IOC_SNAP_DESTROY = iow(BTRFS_IOCTL_MAGIC, 15, VOL_ARGS.size);
export const BTRFS_IOC_SNAP_CREATE_V2 = iow(BTRFS_IOCTL_MAGIC, 23, VOL_ARGS_V2.size);
export const BTRFS_IOC_SUBVOL_GETFLAGS = ior(BTRFS_IOCTL_MAGIC, 25, 8);
export const BTRFS_IOC_SUBVOL_SETFLAGS = iow(BTRFS_IOCTL_MAGIC, 26, 8);
export const BTRFS_IOC_GET_SUBVOL_INFO = ior(BTRFS_IOCTL_MAGIC, 60, GET_SUBVOL_INFO_ARGS.size);
export const BTRFS_IOC_GET_SUBVOL_ROOTREF = 0x80000000n |
  iow(BTRFS_IOCTL_MAGIC, 61, GET_SUBVOL_ROOTREF_ARGS.size);

/** In a subvolume's flags: nothing in it can be changed. */
export const BTRFS_SUBVOL_RDONLY = 2n;
/** The same flag in the answer to {@linkcode subvolumeInfo}: `linux/btrfs_tree.h`. */
export const BTRFS_ROOT_SUBVOL_RDONLY = 1n;

/**
 * Makes an empty subvolume in an open directory; its root belongs to the caller and has the umask's
 * mode.
 */
export function createSubvolume(directory: number, name: EntryName): void {
  const args = new Struct(VOL_ARGS).put("name", name);
  ioctl(directory, BTRFS_IOC_SUBVOL_CREATE, args.bytes, "BTRFS_IOC_SUBVOL_CREATE", nameText(name));
}

/** How a snapshot is made. */
export interface SnapshotOptions {
  readonly readOnly?: boolean;
}

/**
 * Makes a snapshot of an open subvolume in an open directory. Everything written to the source
 * before is in it, through any descriptor.
 */
export function createSnapshot(
  directory: number,
  name: EntryName,
  source: number,
  options: SnapshotOptions = {},
): void {
  const args = new Struct(VOL_ARGS_V2)
    .set("fd", source)
    .set("flags", options.readOnly ? BTRFS_SUBVOL_RDONLY : 0n)
    .put("name", name);
  ioctl(
    directory,
    BTRFS_IOC_SNAP_CREATE_V2,
    args.bytes,
    "BTRFS_IOC_SNAP_CREATE_V2",
    nameText(name),
  );
}

/**
 * Removes a subvolume by its name in an open directory, raw. ENOTEMPTY if it contains other
 * subvolumes; EPERM while it is being sent.
 */
export function tryDestroySubvolume(directory: number, name: EntryName): number {
  const args = new Struct(VOL_ARGS).put("name", name);
  return tryIoctl(directory, BTRFS_IOC_SNAP_DESTROY, args.bytes);
}

const flags = new BigUint64Array(1);
const flagBytes = new Uint8Array(flags.buffer);

/** Whether an open subvolume is read-only. */
export function isReadOnly(subvolume: number): boolean {
  ioctl(subvolume, BTRFS_IOC_SUBVOL_GETFLAGS, flagBytes, "BTRFS_IOC_SUBVOL_GETFLAGS");
  return (flags[0] & BTRFS_SUBVOL_RDONLY) !== 0n;
}

/** Makes an open subvolume read-only, or writable again. */
export function setReadOnly(subvolume: number, readOnly: boolean): void {
  ioctl(subvolume, BTRFS_IOC_SUBVOL_GETFLAGS, flagBytes, "BTRFS_IOC_SUBVOL_GETFLAGS");
  flags[0] = flags[0] & ~BTRFS_SUBVOL_RDONLY | (readOnly ? BTRFS_SUBVOL_RDONLY : 0n);
  ioctl(subvolume, BTRFS_IOC_SUBVOL_SETFLAGS, flagBytes, "BTRFS_IOC_SUBVOL_SETFLAGS");
}

/** A subvolume's record. Transactions are numbered; a later one has the larger number. */
export interface SubvolumeInfo {
  readonly id: bigint;
  /** 32 hexadecimal digits. */
  readonly uuid: string;
  /** The UUID of the subvolume that this one is a snapshot of; `""` if it is not a snapshot. */
  readonly parentUuid: string;
  /** The transaction that last wrote its tree, also for a snapshot taken of it. */
  readonly generation: bigint;
  /** The transaction that last changed an inode of it; a snapshot begins with its source's. */
  readonly changed: bigint;
  /** The transaction that created it. */
  readonly created: bigint;
  /** The time of its creation, in microseconds since 1970. */
  readonly birth: number;
  readonly readOnly: boolean;
}

/** The subvolume that an open file lies in. Linux 4.18. */
export function subvolumeInfo(fd: number): SubvolumeInfo {
  const args = new Struct(GET_SUBVOL_INFO_ARGS);
  ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, args.bytes, "BTRFS_IOC_GET_SUBVOL_INFO");
  const uuid = (name: "uuid" | "parent_uuid") => {
    const [, offset] = GET_SUBVOL_INFO_ARGS.fields[name];
    return args.bytes.subarray(offset, offset + 16).toHex();
  };
  return {
    id: args.big("treeid"),
    uuid: uuid("uuid"),
    parentUuid: uuid("parent_uuid").replace(/^0+$/, ""),
    generation: args.big("generation"),
    changed: args.big("ctransid"),
    created: args.big("otransid"),
    birth: args.get("otime.sec") * 1_000_000 + Math.floor(args.get("otime.nsec") / 1000),
    readOnly: (args.big("flags") & BTRFS_ROOT_SUBVOL_RDONLY) !== 0n,
  };
}

/** A subvolume that lies in another one. */
export interface NestedSubvolume {
  readonly id: bigint;
  /** The inode of the directory, in the outer subvolume, that has its name. */
  readonly directory: bigint;
}

/**
 * The subvolumes that lie directly in an open one, by the root tree's references: no directory is
 * read. The kernel answers in pages of 255. Linux 4.18.
 */
export function nestedSubvolumes(subvolume: number): NestedSubvolume[] {
  const nested: NestedSubvolume[] = [];
  const args = new Struct(GET_SUBVOL_ROOTREF_ARGS);
  const view = new DataView(args.bytes.buffer);
  const [, first] = GET_SUBVOL_ROOTREF_ARGS.fields["rootref[0].treeid"];
  for (;;) {
    const result = tryIoctl(subvolume, BTRFS_IOC_GET_SUBVOL_ROOTREF, args.bytes);
    const more = result === -EOVERFLOW;
    if (!more) unwrap(result, "ioctl BTRFS_IOC_GET_SUBVOL_ROOTREF");
    for (let i = 0; i < args.get("num_items"); i++) {
      const at = first + 16 * i;
      nested.push({
        id: view.getBigUint64(at, true),
        directory: view.getBigUint64(at + 8, true),
      });
    }
    // The kernel has set `min_treeid` to where the next page begins.
    if (!more) return nested;
  }
}
