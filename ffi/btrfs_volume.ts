/**
 * A btrfs file system as a whole: its features, its generation, the space it uses.
 *
 * @module
 */
import { BTRFS_IOCTL_MAGIC } from "./btrfs_subvolume.ts";
import { io, ioctl, ior, iowr } from "./ioctl.ts";
import { layout, Struct } from "./struct.ts";

/** `struct btrfs_ioctl_fs_info_args`. */
export const FS_INFO_ARGS = layout("struct btrfs_ioctl_fs_info_args", 1024, {
  max_id: ["u64", 0],
  num_devices: ["u64", 8],
  fsid: ["u8", 16],
  flags: ["u64", 48],
  generation: ["u64", 56],
});

/** `struct btrfs_ioctl_feature_flags`. */
export const FEATURE_FLAGS = layout("struct btrfs_ioctl_feature_flags", 24, {
  compat_flags: ["u64", 0],
  compat_ro_flags: ["u64", 8],
  incompat_flags: ["u64", 16],
});

/** `struct btrfs_ioctl_space_args`, without the table that follows it. */
export const SPACE_ARGS = layout("struct btrfs_ioctl_space_args", 16, {
  space_slots: ["u64", 0],
  total_spaces: ["u64", 8],
});

/** `struct btrfs_ioctl_space_info`: a row of the table. */
export const SPACE_INFO = layout("struct btrfs_ioctl_space_info", 24, {
  flags: ["u64", 0],
  total_bytes: ["u64", 8],
  used_bytes: ["u64", 16],
});

export const BTRFS_IOC_SYNC = io(BTRFS_IOCTL_MAGIC, 8);
export const BTRFS_IOC_SPACE_INFO = iowr(BTRFS_IOCTL_MAGIC, 20, SPACE_ARGS.size);
export const BTRFS_IOC_FS_INFO = ior(BTRFS_IOCTL_MAGIC, 31, FS_INFO_ARGS.size);
export const BTRFS_IOC_GET_FEATURES = ior(BTRFS_IOCTL_MAGIC, 57, FEATURE_FLAGS.size);

// `linux/btrfs.h`.
export const BTRFS_FS_INFO_FLAG_GENERATION = 2n;
// `linux/btrfs_tree.h`.
export const BTRFS_BLOCK_GROUP_DATA = 1n;
export const BTRFS_BLOCK_GROUP_METADATA = 4n;

/** The `BTRFS_FEATURE_COMPAT_RO_…` flags by bit, named as `/sys/fs/btrfs/features` names them. */
const COMPAT_RO_FEATURES = [
  "free_space_tree",
  "free_space_tree_valid",
  "verity",
  "block_group_tree",
];

/** The `BTRFS_FEATURE_INCOMPAT_…` flags by bit. */
const INCOMPAT_FEATURES = (
  "mixed_backref default_subvol mixed_groups compress_lzo compress_zstd big_metadata extended_iref raid56 " +
  "skinny_metadata no_holes metadata_uuid raid1c34 zoned extent_tree_v2 raid_stripe_tree - simple_quota"
).split(" ");

/** The file system's features that a kernel must know to mount it or to write to it. */
export function features(fd: number): string[] {
  const flags = new Struct(FEATURE_FLAGS);
  ioctl(fd, BTRFS_IOC_GET_FEATURES, flags.bytes, "BTRFS_IOC_GET_FEATURES");
  return [
    ...named(flags.big("incompat_flags"), INCOMPAT_FEATURES),
    ...named(flags.big("compat_ro_flags"), COMPAT_RO_FEATURES),
  ].sort();
}

function named(flags: bigint, names: readonly string[]): string[] {
  return names.filter((_, bit) => (flags >> BigInt(bit) & 1n) !== 0n);
}

/** The result of {@linkcode volumeInfo}. */
export interface VolumeInfo {
  /** 32 hexadecimal digits. */
  readonly uuid: string;
  readonly devices: number;
  /** The number of the last committed transaction. Linux 5.9; 0 before. */
  readonly generation: number;
}

export function volumeInfo(fd: number): VolumeInfo {
  const info = new Struct(FS_INFO_ARGS).set("flags", BTRFS_FS_INFO_FLAG_GENERATION);
  ioctl(fd, BTRFS_IOC_FS_INFO, info.bytes, "BTRFS_IOC_FS_INFO");
  const [, fsid] = FS_INFO_ARGS.fields.fsid;
  return {
    uuid: info.bytes.subarray(fsid, fsid + 16).toHex(),
    devices: info.get("num_devices"),
    generation: info.get("generation"),
  };
}

/** Space of one kind in bytes, reserved and used; copies count once. */
export interface Space {
  readonly total: number;
  readonly used: number;
}

/** The space for data and the space for metadata. */
export function spaceUsage(fd: number): { data: Space; metadata: Space } {
  const count = new Struct(SPACE_ARGS);
  ioctl(fd, BTRFS_IOC_SPACE_INFO, count.bytes, "BTRFS_IOC_SPACE_INFO");
  const slots = count.get("total_spaces");
  const args = new Struct(SPACE_ARGS, SPACE_ARGS.size + slots * SPACE_INFO.size)
    .set("space_slots", slots);
  ioctl(fd, BTRFS_IOC_SPACE_INFO, args.bytes, "BTRFS_IOC_SPACE_INFO");
  const sum = (kind: bigint): Space => {
    const space = { total: 0, used: 0 };
    for (let i = 0; i < Math.min(slots, args.get("total_spaces")); i++) {
      const row = new Struct(SPACE_INFO);
      const at = SPACE_ARGS.size + i * SPACE_INFO.size;
      row.bytes.set(args.bytes.subarray(at, at + SPACE_INFO.size));
      if ((row.big("flags") & kind) === 0n) continue;
      space.total += row.get("total_bytes");
      space.used += row.get("used_bytes");
    }
    return space;
  };
  return { data: sum(BTRFS_BLOCK_GROUP_DATA), metadata: sum(BTRFS_BLOCK_GROUP_METADATA) };
}

/** Commits the running transaction and wakes the kernel's cleaner of removed subvolumes. */
export function commit(fd: number): void {
  ioctl(fd, BTRFS_IOC_SYNC, 0, "BTRFS_IOC_SYNC");
}
