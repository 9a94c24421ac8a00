/**
 * Block devices: their size, and forgetting their cached content.
 *
 * @module
 */
import { O_RDONLY, O_RDWR, open, withFd } from "./files.ts";
import { io, ioctl, ior, tryIoctl } from "./ioctl.ts";

// `linux/fs.h`.
export const BLKFLSBUF = io(0x12, 97);
export const BLKDISCARD = io(0x12, 119);
export const BLKGETSIZE64 = ior(0x12, 114, 8);

/**
 * The size of an open block device in bytes.
 *
 * @throws {SyscallError} ENOTTY if it is not a block device
 */
export function blockDeviceSize(fd: number, path?: string): number {
  const size = new BigUint64Array(1);
  ioctl(fd, BLKGETSIZE64, new Uint8Array(size.buffer), "BLKGETSIZE64", path);
  return Number(size[0]);
}

/** The size of a block device in bytes, by its path. */
export const sizeOfBlockDevice = (path: string): number =>
  withFd(open(path, O_RDONLY), (fd) => blockDeviceSize(fd, path));

/** Discards the first `length` bytes of a device, raw: 0 or `-errno` (`-EOPNOTSUPP`). */
export function tryDiscard(path: string, length: number): number {
  const range = new BigUint64Array([0n, BigInt(length)]);
  return withFd(
    open(path, O_RDWR),
    (fd) => tryIoctl(fd, BLKDISCARD, new Uint8Array(range.buffer)),
  );
}

/**
 * Drops the cached pages of an open device, so that the next read comes from the device. Writes
 * below its page cache, such as those of device-mapper's targets, do not change cached pages.
 */
export function dropBuffers(fd: number): void {
  ioctl(fd, BLKFLSBUF, 0, "BLKFLSBUF");
}
