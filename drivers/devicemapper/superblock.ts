/**
 * Identifies the file system on a device by its first blocks.
 *
 * @module
 */
import { O_RDONLY, open, pread, withFd } from "../../ffi/files.ts";
import { EXT_MAGIC, XFS_MAGIC } from "../../ffi/statfs.ts";

/** The fields of a file system's superblock. */
export interface Superblock {
  readonly type: "ext4" | "xfs";
  /** As `blkid` writes it. */
  readonly uuid: string;
  readonly blockSize: number;
  /** In bytes. */
  readonly size: number;
}

/** The file system on a block device; `undefined` if it is neither ext4 nor xfs. */
export function readSuperblock(device: string): Superblock | undefined {
  return parseSuperblock(readStart(device));
}

/** The number of used inodes in a file system's superblock; `undefined` for other file systems. */
export function readUsedInodes(device: string): number | undefined {
  const bytes = readStart(device);
  const type = parseSuperblock(bytes)?.type;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (type === "xfs") {
    const ICOUNT = 128, IFREE = 136;
    return Number(view.getBigUint64(ICOUNT) - view.getBigUint64(IFREE));
  }
  const INODES = EXT4_AT, FREE_INODES = EXT4_AT + 0x10;
  return type && view.getUint32(INODES, true) - view.getUint32(FREE_INODES, true);
}

function readStart(device: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4096);
  const length = withFd(open(device, O_RDONLY), (fd) => pread(fd, bytes, bytes.length, 0n));
  return bytes.subarray(0, length);
}

/** @param bytes the device's first 4 KiB */
export function parseSuperblock(bytes: Uint8Array<ArrayBuffer>): Superblock | undefined {
  if (bytes.length < 4096) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return parseXfs(bytes, view) ?? parseExt4(bytes, view);
}

/** `struct xfs_dsb`, big-endian: kernel, fs/xfs/libxfs/xfs_format.h. */
function parseXfs(bytes: Uint8Array, view: DataView): Superblock | undefined {
  if (view.getUint32(0) !== XFS_MAGIC) return undefined;
  const blockSize = view.getUint32(4);
  const blocks = Number(view.getBigUint64(8));
  return { type: "xfs", uuid: formatUuid(bytes.subarray(32)), blockSize, size: blocks * blockSize };
}

/** The offset of ext4's superblock. */
const EXT4_AT = 1024;

/** `struct ext4_super_block`, little-endian: kernel, fs/ext4/ext4.h. */
function parseExt4(bytes: Uint8Array, view: DataView): Superblock | undefined {
  const AT = EXT4_AT, INCOMPAT_64BIT = 0x80;
  if (view.getUint16(AT + 0x38, true) !== EXT_MAGIC) return undefined;
  const blockSize = 1024 << view.getUint32(AT + 0x18, true);
  const is64Bit = (view.getUint32(AT + 0x60, true) & INCOMPAT_64BIT) !== 0;
  const blocks = view.getUint32(AT + 0x4, true) +
    (is64Bit ? view.getUint32(AT + 0x150, true) * 2 ** 32 : 0);
  return {
    type: "ext4",
    uuid: formatUuid(bytes.subarray(AT + 0x68)),
    blockSize,
    size: blocks * blockSize,
  };
}

function formatUuid(bytes: Uint8Array): string {
  const hex = bytes.subarray(0, 16).toHex();
  return [0, 8, 12, 16, 20].map((at, i) => hex.slice(at, [8, 12, 16, 20, 32][i])).join("-");
}
