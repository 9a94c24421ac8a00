/**
 * Checks whether overlay2 can run: the kernel and its version, the file system below, and its
 * directory entries.
 *
 * Each check returns the problem, or `undefined`. Opening a store throws the first problem;
 * `doctor` lists all.
 *
 * @module
 */
import { DT_UNKNOWN, readSomeEntries } from "../../ffi/directory.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { lseek, O_DIRECTORY, O_RDONLY, open, SEEK_SET, withFd } from "../../ffi/files.ts";
import {
  AUFS_MAGIC,
  BTRFS_MAGIC,
  ECRYPTFS_MAGIC,
  type FileSystem,
  NFS_MAGIC,
  OVERLAY_MAGIC,
  ZFS_MAGIC,
} from "../../ffi/statfs.ts";
import { tryOpenParentDirectory } from "../../ffi/quiet_open.ts";
import { fstat } from "../../ffi/stat.ts";
import { AT_REMOVEDIR, mkdirat, unlinkat } from "../../ffi/names.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { hasFileSystem } from "../../lib/base/kernel.ts";
import type { Overlay2Options } from "./options.ts";

/** Checks that the kernel has overlay, built in or as a module. */
export function checkOverlay(): VeneerError | undefined {
  if (hasFileSystem("overlay")) return undefined;
  return new VeneerError(
    "not supported",
    "the kernel has no overlay file system, and `modprobe overlay` does not load one; " +
      "it needs CONFIG_OVERLAY_FS",
  );
}

/**
 * Checks the kernel's version: several lower directories need Linux 4.0, or 3.10.0-514 of Red Hat.
 */
export function checkKernelVersion(
  release: string,
  { overrideKernelCheck }: Overlay2Options,
): VeneerError | undefined {
  if (overrideKernelCheck || isRecentEnough(release)) return undefined;
  return new VeneerError(
    "not supported",
    `kernel ${release}: overlay2 needs 4.0 or later (3.10.0-514 of Red Hat); ` +
      "the option overlay2.override_kernel_check=true tries all the same",
  );
}

function isRecentEnough(release: string): boolean {
  const redHat = /^3\.10\.0-(\d+).*\.el7/.exec(release);
  if (redHat) return Number(redHat[1]) >= 514;
  const major = /^(\d+)\./.exec(release);
  return major !== null && Number(major[1]) >= 4;
}

/**
 * The file systems that overlay refuses for its upper directory, or on which it fails by Docker's
 * experience.
 */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [AUFS_MAGIC, "aufs"],
  [ECRYPTFS_MAGIC, "ecryptfs"],
  [NFS_MAGIC, "nfs"],
  [OVERLAY_MAGIC, "overlay"],
  [ZFS_MAGIC, "zfs"],
]);

/**
 * Checks the file system below the store.
 *
 * btrfs is refused unless the option allows it, because its own driver is better there. Docker
 * refused it as well for kernels before 4.7, which did not support it.
 */
export function checkBacking(
  path: string,
  backing: FileSystem,
  { allowBtrfs }: Overlay2Options,
): VeneerError | undefined {
  const refused = REFUSED.get(backing.type);
  if (refused !== undefined) {
    return new VeneerError(
      "incompatible",
      `${path} is on ${refused}, which overlay cannot stand on; put the store on ext4 or xfs`,
    );
  }
  if (backing.type === BTRFS_MAGIC && !allowBtrfs) {
    return new VeneerError(
      "incompatible",
      `${path} is on btrfs, where the btrfs driver is the one to use; ` +
        "the option overlay2.allow_btrfs=true uses overlay2 all the same",
    );
  }
  return undefined;
}

/**
 * Checks that directories store the types of their entries. Without them overlay shows whiteouts as
 * files.
 *
 * @param path a directory of which nothing changes
 * @returns the problem; "unknown" if no directory shows it, as on a new file system
 */
export function findEntryTypes(
  path: string,
  backing: FileSystem,
): VeneerError | "unknown" | undefined {
  const found = withFd(open(path, O_RDONLY | O_DIRECTORY), storedTypes);
  if (found === undefined) return "unknown";
  return found ? undefined : withoutTypes(path, backing);
}

/**
 * Checks the same for sure: if no directory shows it, one is made in this one for a moment.
 *
 * @returns the problem
 */
export function checkEntryTypes(path: string, backing: FileSystem): VeneerError | undefined {
  const found = withFd(
    open(path, O_RDONLY | O_DIRECTORY),
    (directory) => storedTypes(directory) ?? probeTypes(directory),
  );
  return found ? undefined : withoutTypes(path, backing);
}

function withoutTypes(path: string, backing: FileSystem): VeneerError {
  const remedy = backing.name === "xfs"
    ? "make it again with `mkfs.xfs -n ftype=1`"
    : "put the store on ext4 or on xfs made with ftype=1";
  return new VeneerError(
    "not supported",
    `${path} is on ${backing.name} without d_type (types in directory entries); ${remedy}`,
  );
}

/**
 * Whether an open directory stores types, by its entries. An empty one is itself an entry of the
 * directory above, which shows it unless it is on another file system.
 */
function storedTypes(directory: number): boolean | undefined {
  const own = typesIn(directory);
  if (own !== undefined) return own;
  const above = tryOpenParentDirectory(directory);
  if (above < 0) return undefined;
  return withFd(above, () => isOnSameFileSystem(directory, above) ? typesIn(above) : undefined);
}

function typesIn(directory: number): boolean | undefined {
  const found = readSomeEntries(directory);
  return found.length === 0 ? undefined : found.every(({ type }) => type !== DT_UNKNOWN);
}

function isOnSameFileSystem(one: number, other: number): boolean {
  const a = fstat(one), b = fstat(other);
  // The directory above a root is the root itself.
  return a.devMajor === b.devMajor && a.devMinor === b.devMinor && a.inode !== b.inode;
}

function probeTypes(directory: number): boolean {
  const probe = entryName(`.veneer-probe-${crypto.randomUUID()}`);
  mkdirat(directory, probe, 0o700);
  try {
    lseek(directory, 0n, SEEK_SET);
    return typesIn(directory) ?? false;
  } finally {
    unlinkat(directory, probe, AT_REMOVEDIR);
  }
}
