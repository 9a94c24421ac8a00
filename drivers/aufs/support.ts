/**
 * Checks the kernel and the file system below the store.
 *
 * Each check returns the problem, or `undefined`. Most operations on a store need no mount, so only
 * those that do check the kernel.
 *
 * @module
 */
import {
  AUFS_MAGIC,
  BTRFS_MAGIC,
  ECRYPTFS_MAGIC,
  FILE_SYSTEM_NAMES,
  type FileSystem,
} from "../../ffi/statfs.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { hasFileSystem, inUserNamespace } from "../../lib/base/kernel.ts";

/** The operations that work without aufs in the kernel, for messages. */
export const WITHOUT_MOUNT =
  "layers can still be listed, exported, compared, applied to and removed";

/** Checks that the kernel has aufs, built in or as a module, and that it may be mounted. */
export function checkAufs(): VeneerError | undefined {
  if (!hasFileSystem("aufs")) {
    return new VeneerError(
      "not supported",
      "the kernel has no aufs file system, and `modprobe aufs` does not load one; " +
        "boot a kernel with CONFIG_AUFS_FS, or move the layers to another driver",
    );
  }
  return inUserNamespace() ? notInUserNamespace() : undefined;
}

export const notInUserNamespace = () =>
  new VeneerError(
    "not supported",
    "aufs cannot be mounted in a user namespace; run in the initial one",
  );

/** The file systems that aufs refuses as a branch, or on which it fails by Docker's experience. */
const REFUSED: ReadonlySet<number> = new Set([AUFS_MAGIC, BTRFS_MAGIC, ECRYPTFS_MAGIC]);

/** Checks the file system below the store. */
export function checkBacking(path: string, { type }: FileSystem): VeneerError | undefined {
  if (!REFUSED.has(type)) return undefined;
  return new VeneerError(
    "incompatible",
    `${path} is on ${
      FILE_SYSTEM_NAMES.get(type)
    }, which aufs cannot stand on; put the store on ext4 or xfs`,
  );
}
