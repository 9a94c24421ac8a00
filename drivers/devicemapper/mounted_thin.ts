/**
 * Mounts the file system of a layer's device without attaching the mount anywhere.
 *
 * @module
 */
import {
  close,
  O_DIRECTORY,
  O_RDONLY,
  reopen,
  RESOLVE_INSIDE,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import {
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_RDONLY,
} from "../../ffi/fsmount.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { readSuperblock } from "./superblock.ts";

/**
 * Mounts a file system; `scope` unmounts it. If its journal was not written back, it is replayed, so
 * the device must be one that may be written to.
 *
 * @param node the path of the device's node
 * @param what the layer's name in messages
 * @param isRead whether it is only read, which is the default
 * @returns its `rootfs`, open for reading
 * @throws {VeneerError} `corrupt store` if that is missing
 */
export function openRootfs(
  node: string,
  what: string,
  scope: DisposableStack,
  isRead = true,
): number {
  const mount = scope.adopt(mountDetached(node, what, isRead), close);
  const root = tryOpenat2(mount, "rootfs", O_RDONLY | O_DIRECTORY, RESOLVE_INSIDE);
  if (root < 0) throw new VeneerError("corrupt store", `${what} has no directory rootfs`);
  return scope.adopt(root, close);
}

/** Like {@linkcode openRootfs}, for a file system whose root is the layer's. */
export function openDevice(
  node: string,
  what: string,
  scope: DisposableStack,
  isRead = true,
): number {
  const mount = scope.adopt(mountDetached(node, what, isRead), close);
  return scope.adopt(reopen(mount, O_RDONLY | O_DIRECTORY), close);
}

/** Mounts a file system without attaching it; returns a descriptor of its root. */
function mountDetached(node: string, what: string, isRead: boolean): number {
  const type = readSuperblock(node)?.type;
  if (type === undefined) {
    throw new VeneerError("corrupt store", `${what} has a file system that is not ext4 or xfs`);
  }
  return withFd(fsopen(type), (context) => {
    fsconfigString(context, "source", node);
    if (isRead) fsconfigFlag(context, "ro");
    // Layers have the same UUID.
    if (type === "xfs") fsconfigFlag(context, "nouuid");
    fsconfigCreate(context);
    return fsmount(context, (isRead ? MOUNT_ATTR_RDONLY : 0) | MOUNT_ATTR_NOATIME);
  });
}
