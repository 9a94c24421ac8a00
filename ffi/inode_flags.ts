/**
 * Flags of inodes, as `chattr(1)` sets them.
 *
 * @module
 */
import { ior, iow, tryIoctl } from "./ioctl.ts";

// `linux/fs.h`. The argument is declared a long and has always been an int (ioctl_iflags(2)).
export const FS_IOC_GETFLAGS = ior(0x66, /* f */ 1, 8);
export const FS_IOC_SETFLAGS = iow(0x66, 2, 8);
/** Only appending: no deletion, in a directory no removal of entries. */
export const FS_APPEND_FL = 0x20;
/** No change at all. */
export const FS_IMMUTABLE_FL = 0x10;
/** Written in place, not copied on write (btrfs): can only be set on an empty file. */
export const FS_NOCOW_FL = 0x0080_0000;

const flags = new Uint32Array(2);
const bytes = new Uint8Array(flags.buffer);

/** The flags of an open file or directory; 0 if its file system has no flags. */
export function inodeFlags(fd: number): number {
  flags.fill(0);
  return tryIoctl(fd, FS_IOC_GETFLAGS, bytes) < 0 ? 0 : flags[0];
}

/** Sets the flags of an open file or directory, raw: 0 or `-errno`. */
export function trySetInodeFlags(fd: number, value: number): number {
  flags.fill(0);
  flags[0] = value;
  return tryIoctl(fd, FS_IOC_SETFLAGS, bytes);
}

/** Clears the flags that keep an open file or directory from being deleted. */
export function clearProtection(fd: number): void {
  const current = inodeFlags(fd);
  const PROTECTION = FS_IMMUTABLE_FL | FS_APPEND_FL;
  if ((current & PROTECTION) !== 0) trySetInodeFlags(fd, current & ~PROTECTION);
}
