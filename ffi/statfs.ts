/**
 * `statfs(2)`: the type of a file system and its free space.
 *
 * @module
 */
import { cstring, type Path } from "./cstring.ts";
import { E, volumes } from "./libc.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `struct statfs64` of `asm-generic/statfs.h` and glibc's `bits/statfs.h`, on 64-bit machines. */
export const STATFS = layout("struct statfs64", 120, {
  f_type: ["u64", 0],
  f_bsize: ["u64", 8],
  f_blocks: ["u64", 16],
  f_bfree: ["u64", 24],
  f_bavail: ["u64", 32],
  f_files: ["u64", 40],
  f_ffree: ["u64", 48],
  f_namelen: ["u64", 64],
  f_frsize: ["u64", 72],
  f_flags: ["u64", 80],
});

// Types of file systems: `linux/magic.h`, unless another source is named.
export const EXT_MAGIC = 0xef53;
export const XFS_MAGIC = 0x5846_5342;
export const BTRFS_MAGIC = 0x9123_683e;
export const OVERLAY_MAGIC = 0x794c_7630;
export const TMPFS_MAGIC = 0x0102_1994;
export const NFS_MAGIC = 0x6969;
export const ECRYPTFS_MAGIC = 0xf15f;
/** `include/uapi/linux/aufs_type.h` of aufs: "aufs" in ASCII. */
export const AUFS_MAGIC = 0x6175_6673;
/** `include/sys/fs/zfs.h` of OpenZFS: `ZFS_SUPER_MAGIC`. */
export const ZFS_MAGIC = 0x2fc1_2fc1;

/** Names by type, as Docker's `status` writes them if it knows the type. */
export const FILE_SYSTEM_NAMES: ReadonlyMap<number, string> = new Map([
  [EXT_MAGIC, "extfs"],
  [XFS_MAGIC, "xfs"],
  [BTRFS_MAGIC, "btrfs"],
  [OVERLAY_MAGIC, "overlayfs"],
  [TMPFS_MAGIC, "tmpfs"],
  [NFS_MAGIC, "nfs"],
  [ECRYPTFS_MAGIC, "ecryptfs"],
  [AUFS_MAGIC, "aufs"],
  [ZFS_MAGIC, "zfs"],
  [0x8584_58f6, "ramfs"],
  [0x7371_7368, "squashfs"],
  [0xe0f5_e1e2, "erofs"],
  [0xf2f5_2010, "f2fs"],
  [0x6573_5546, "fuse"],
  [0x0102_1997, "9p"],
  [0x5265_4973, "reiserfs"],
  [0x28cd_3d45, "cramfs"],
  [0x72b6, "jffs2"],
  [0x9660, "isofs"],
  [0x4d44, "vfat"],
  [0x2011_bab0, "exfat"],
  [0xff53_4d42, "cifs"],
  [0xfe53_4d42, "smb2"],
  [0x00c3_6400, "ceph"],
  [0x9fa0, "proc"],
  [0x6265_6572, "sysfs"],
  [0x00c0_ffee, "hostfs"], // `fs/hostfs/hostfs_kern.c` of the kernel
  [0xca45_1a4e, "bcachefs"], // `fs/bcachefs/super-io.c` of the kernel: `BCACHEFS_STATFS_MAGIC`
  [0x3153_464a, "jfs"], // `fs/jfs/jfs_superblock.h` of the kernel: "JFS1"
  [0xa501_fcf5, "vxfs"], // `fs/freevxfs/vxfs.h` of the kernel
  [0x4750_4653, "gpfs"], // IBM Storage Scale: "GPFS" in ASCII
]);

/** The result of {@linkcode statfs}. Sizes are in bytes. */
export interface FileSystem {
  /** The magic number. */
  readonly type: number;
  /** Its name, or `unknown (0x…)`. */
  readonly name: string;
  readonly blockSize: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Of the free bytes, those that an ordinary user may take. */
  readonly availableBytes: number;
  /** 0 if the file system allocates inodes on demand. */
  readonly totalInodes: number;
  readonly freeInodes: number;
  /** The longest name of an entry, in bytes. */
  readonly nameMax: number;
  /** Whether the mount or the whole file system is read-only. */
  readonly readOnly: boolean;
}

/** `linux/statfs.h`. */
export const ST_RDONLY = 1;

/** The name of a file system by its magic number. */
export function fileSystemName(type: number): string {
  return FILE_SYSTEM_NAMES.get(type) ?? `unknown (0x${type.toString(16)})`;
}

/** The file system that `path` (links followed) lies on. */
export function statfs(path: Path): FileSystem {
  const bytes = cstring(path), buffer = new Struct(STATFS);
  const result = volumes.statfs64()(bytes, buffer.bytes);
  unwrap(result < 0 ? -E[0] : result, "statfs", path);
  return describe(buffer);
}

/** The file system that an open file lies on. */
export function fstatfs(fd: number): FileSystem {
  const buffer = new Struct(STATFS);
  const result = volumes.fstatfs64()(fd, buffer.bytes);
  unwrap(result < 0 ? -E[0] : result, "fstatfs");
  return describe(buffer);
}

function describe(buffer: Struct<keyof typeof STATFS.fields>): FileSystem {
  const type = buffer.get("f_type");
  // f_frsize is the unit of the counts; file systems of old leave it 0 and mean f_bsize.
  const unit = buffer.get("f_frsize") || buffer.get("f_bsize");
  return {
    type,
    name: fileSystemName(type),
    blockSize: buffer.get("f_bsize"),
    totalBytes: buffer.get("f_blocks") * unit,
    freeBytes: buffer.get("f_bfree") * unit,
    availableBytes: buffer.get("f_bavail") * unit,
    totalInodes: buffer.get("f_files"),
    freeInodes: buffer.get("f_ffree"),
    nameMax: buffer.get("f_namelen"),
    readOnly: (buffer.get("f_flags") & ST_RDONLY) !== 0,
  };
}
