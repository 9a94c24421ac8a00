/**
 * Whether layers can be mounted: the kernel, and the file system below the store.
 *
 * Each check returns the fault, or `undefined`. Most operations on a store need no mount, so the
 * kernel is checked only by those that do.
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

/** aufs itself, built in or as a module, if it may be mounted. */
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

/** File systems that aufs refuses as a branch, or that Docker found it to fail on. */
const REFUSED: ReadonlySet<number> = new Set([AUFS_MAGIC, BTRFS_MAGIC, ECRYPTFS_MAGIC]);

/** The file system below the store. */
export function checkBacking(path: string, { type }: FileSystem): VeneerError | undefined {
  if (!REFUSED.has(type)) return undefined;
  return new VeneerError(
    "incompatible",
    `${path} is on ${
      FILE_SYSTEM_NAMES.get(type)
    }, which aufs cannot stand on; put the store on ext4 or xfs`,
  );
}
