/**
 * Growing mounted file systems to the size of their device.
 *
 * @module
 */
import { ioctl, ior, iow } from "./ioctl.ts";
import { layout, Struct } from "./struct.ts";

/** Kernel, include/uapi/linux/ext4.h (fs/ext4/ext4.h before 6.3): `_IOW('f', 16, __u64)`. */
export const EXT4_IOC_RESIZE_FS = iow(0x66, 16, 8);

/** `struct xfs_growfs_data`: kernel, fs/xfs/libxfs/xfs_fs.h. */
export const XFS_GROWFS_DATA = layout("struct xfs_growfs_data", 16, {
  newblocks: ["u64", 0],
  imaxpct: ["u32", 8],
});
/** The same header: `_IOW('X', 110, struct xfs_growfs_data)`. */
export const XFS_IOC_FSGROWFSDATA = iow(0x58, 110, 16);

/** `struct xfs_fsop_geom_v1`, as far as it is read here: the same header. */
export const XFS_FSOP_GEOM_V1 = layout("struct xfs_fsop_geom_v1", 112, {
  blocksize: ["u32", 0],
  imaxpct: ["u32", 28],
  datablocks: ["u64", 32],
});
/** The same header: `_IOR('X', 100, struct xfs_fsop_geom_v1)`. */
export const XFS_IOC_FSGEOMETRY_V1 = ior(0x58, 100, 112);

/**
 * Grows a mounted ext4.
 *
 * @param fd of its root or anything in it
 * @param size in bytes; cut to whole blocks
 */
export function growExt4(fd: number, size: number, blockSize: number, path?: string): void {
  const blocks = new BigUint64Array([BigInt(Math.floor(size / blockSize))]);
  ioctl(fd, EXT4_IOC_RESIZE_FS, new Uint8Array(blocks.buffer), "EXT4_IOC_RESIZE_FS", path);
}

/** Grows a mounted xfs: see {@linkcode growExt4}. Does nothing if it has the size already. */
export function growXfs(fd: number, size: number, path?: string): void {
  const geometry = new Struct(XFS_FSOP_GEOM_V1);
  ioctl(fd, XFS_IOC_FSGEOMETRY_V1, geometry.bytes, "XFS_IOC_FSGEOMETRY_V1", path);
  const blocks = Math.floor(size / geometry.get("blocksize"));
  if (blocks <= geometry.get("datablocks")) return;
  const request = new Struct(XFS_GROWFS_DATA)
    .set("newblocks", blocks)
    .set("imaxpct", geometry.get("imaxpct"));
  ioctl(fd, XFS_IOC_FSGROWFSDATA, request.bytes, "XFS_IOC_FSGROWFSDATA", path);
}
