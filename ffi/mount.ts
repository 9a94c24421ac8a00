/**
 * `mount(2)` and `umount2(2)`: mounting in one call, with options as one string.
 *
 * The kernel reads at most a page of options and silently cuts off the rest, so longer ones are
 * refused here; `fsmount.ts` has the calls without that limit. Targets are resolved in the calling
 * thread's working directory and mount namespace (see `process.ts`).
 *
 * @module
 */
import { cstring, type Path } from "./cstring.ts";
import { E, mounts } from "./libc.ts";
import { unwrap } from "./unwrap.ts";

// Flags of mount(2): `linux/mount.h`.
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_SYNCHRONOUS = 16;
/** Change the flags of an existing mount. */
export const MS_REMOUNT = 32;
export const MS_DIRSYNC = 128;
export const MS_NOSYMFOLLOW = 256;
export const MS_NOATIME = 1024;
export const MS_NODIRATIME = 2048;
/** Mount a directory a second time, somewhere else. */
export const MS_BIND = 4096;
/** With `MS_BIND` and the propagation flags: the mounts below, too. */
export const MS_REC = 16384;
/** Mounts made below are seen here only. */
export const MS_PRIVATE = 1 << 18;
export const MS_RELATIME = 1 << 21;
export const MS_STRICTATIME = 1 << 24;
export const MS_LAZYTIME = 1 << 25;

// Flags of umount2(2): `sys/mount.h`, `include/linux/fs.h` of the kernel.
/** Take the mount out of the tree now, and down after its last use. */
export const MNT_DETACH = 2;
/** Do not follow a symbolic link at the target's end. */
export const UMOUNT_NOFOLLOW = 8;

/**
 * The longest options, in bytes without the terminating NUL: a page, of the smallest size there is,
 * holds both (`copy_mount_options` in `fs/namespace.c` of the kernel; mount(2)).
 */
export const MOUNT_DATA_MAX = 4095;

/**
 * The arguments of {@linkcode mount}. Those left out are NULL, which is right if a flag makes them
 * unused.
 */
export interface MountRequest {
  /** A device's or a directory's path, or any name if the type has no device. */
  source?: Path;
  /** A directory (or a file, for `MS_BIND`); relative to the thread's working directory. */
  target: Path;
  /** As `/proc/filesystems` names it. */
  type?: string;
  /** `MS_…` */
  flags?: number;
  /** The file system's own options, comma-separated; at most {@linkcode MOUNT_DATA_MAX} bytes. */
  data?: Path;
}

/**
 * `mount(2)`, raw: 0 or `-errno`.
 *
 * @throws {RangeError} if `data` is longer than {@linkcode MOUNT_DATA_MAX}
 */
export function tryMount({ source, target, type, flags = 0, data }: MountRequest): number {
  const sourceBytes = source === undefined ? null : cstring(source);
  const targetBytes = cstring(target);
  const typeBytes = type === undefined ? null : cstring(type);
  const dataBytes = data === undefined ? null : cstring(data);
  if (dataBytes !== null && dataBytes.byteLength > MOUNT_DATA_MAX + 1) {
    throw new RangeError(
      `mount options of ${dataBytes.byteLength - 1} bytes: mount(2) takes ${MOUNT_DATA_MAX}`,
    );
  }
  const result = mounts.mount()(sourceBytes, targetBytes, typeBytes, BigInt(flags), dataBytes);
  return result < 0 ? -E[0] : result;
}

/**
 * `mount(2)`.
 *
 * @throws {SyscallError}
 * @throws {RangeError} if `data` is longer than {@linkcode MOUNT_DATA_MAX}
 */
export function mount(request: MountRequest): void {
  unwrap(tryMount(request), "mount", request.target);
}

/**
 * `umount2(2)`, raw: 0 or `-errno` (`EINVAL` if `target` is not a mount point, `EBUSY` if it is in
 * use).
 */
export function tryUmount(target: Path, flags = 0): number {
  const bytes = cstring(target);
  const result = mounts.umount2()(bytes, flags);
  return result < 0 ? -E[0] : result;
}

/** `umount2(2)`. */
export function umount(target: Path, flags = 0): void {
  unwrap(tryUmount(target, flags), "umount2", target);
}
