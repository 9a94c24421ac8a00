/**
 * The state that overlay keeps of a directory: whether it is the upper one of a mount.
 *
 * Overlay is asked by an overlay that is made of the directory and of two empty ones. These lie in a
 * file system in memory that is attached nowhere, and that this thread keeps for the next questions:
 * taking one down makes the kernel wait for all processors.
 *
 * @module
 */
import { entryName, nameText } from "../../ffi/entry_name.ts";
import { EBUSY, EINVAL, SyscallError } from "../../ffi/errno.ts";
import { close, withFd } from "../../ffi/files.ts";
import {
  FSCONFIG_CMD_CREATE,
  fsconfigString,
  fsopen,
  tryFsconfig,
  tryFsmount,
  tryFsopen,
} from "../../ffi/fsmount.ts";
import { mkdirat } from "../../ffi/names.ts";
import { BTRFS_MAGIC, EXT_MAGIC, fstatfs, XFS_MAGIC } from "../../ffi/statfs.ts";
import { descriptorPath } from "../../ffi/xattr.ts";
import { isKernelAtLeast } from "../base/kernel.ts";

/** The result of {@linkcode stateOfUpper}; `unknown` on kernels that cannot tell. */
export type UpperState = "in use" | "free" | "unknown";

/**
 * Asks overlay whether a directory is the upper one of a mount, anywhere: in another mount
 * namespace, or detached and still held. The directory is not written to.
 *
 * An upper that is in use is a line in the kernel's log: overlay writes one before it refuses. So
 * is a free one if the kernel cannot be asked by {@linkcode askAsLower}.
 *
 * @param upper an open directory
 */
export function stateOfUpper(upper: number): UpperState {
  try {
    const scratch = emptyDirectories();
    if (scratch === undefined) return "unknown";
    const answer = canAskAsLower(upper) ? askAsLower(upper, scratch) : "unknown";
    return answer === "unknown" ? askAsUpper(upper, scratch) : answer;
  } catch (error) {
    if (error instanceof SyscallError) return "unknown";
    throw error;
  }
}

/**
 * Whether {@linkcode askAsLower} can be believed. Overlay takes directories of a mount that is
 * attached nowhere since Linux 6.15 (`clone_private_mount` of `fs/namespace.c`). If a lower's file
 * system has no file handles, it takes a lower that is in use with a warning (`ovl_lower_dir` of
 * `fs/overlayfs/super.c`).
 */
function canAskAsLower(upper: number): boolean {
  return isKernelAtLeast(6, 15) && HAVE_HANDLES.has(fstatfs(upper).type);
}

const HAVE_HANDLES: ReadonlySet<number> = new Set([BTRFS_MAGIC, EXT_MAGIC, XFS_MAGIC]);

/** The paths of two empty directories in one file system, neither of which lies in the other. */
interface EmptyDirectories {
  readonly one: string;
  readonly other: string;
}

/**
 * Makes an overlay with the directory as its lower one, and drops it again. With `index=on` a lower
 * that is the upper of another mount is refused (EBUSY: `ovl_get_layers` of
 * `fs/overlayfs/super.c`); a free one is taken without a word.
 */
function askAsLower(directory: number, { one, other }: EmptyDirectories): UpperState {
  const result = tryOverlay({
    lowerdir: descriptorPath(directory),
    upperdir: one,
    workdir: other,
    // Features that the module's parameters may turn on, which would add a line to the log.
    nfs_export: "off",
    metacopy: "off",
    xino: "off",
  });
  return result === -EBUSY ? "in use" : result === 0 ? "free" : "unknown";
}

/**
 * Asks for a mount with this upper and a working directory on another mount, which cannot come to
 * be. The kernel looks first whether the upper is in use (EBUSY), then whether both lie on one
 * mount (EINVAL): `ovl_get_upper` and `ovl_get_workdir` of `fs/overlayfs/super.c`.
 */
function askAsUpper(upper: number, { one, other }: EmptyDirectories): UpperState {
  const result = tryOverlay({ lowerdir: one, upperdir: descriptorPath(upper), workdir: other });
  return result === -EBUSY ? "in use" : result === -EINVAL ? "free" : "unknown";
}

/** Makes an overlay that is attached nowhere and drops it again, raw: 0 or `-errno`. */
function tryOverlay(options: Readonly<Record<string, string>>): number {
  return withFd(fsopen("overlay"), (context) => {
    fsconfigString(context, "index", "on");
    for (const [key, value] of Object.entries(options)) fsconfigString(context, key, value);
    return tryFsconfig(context, FSCONFIG_CMD_CREATE, null, null);
  });
}

/** The file system of the empty directories, and how often they were made in it. */
let scratch: { readonly fd: number; pairs: number } | undefined;

/** How many pairs a file system gets. Overlay leaves some directories in each, a few KiB. */
const MOST_PAIRS = 32;

/**
 * Two new directories for a question: overlay ties an upper directory to the first lower one that
 * it sees.
 */
function emptyDirectories(): EmptyDirectories | undefined {
  if (scratch === undefined || scratch.pairs === MOST_PAIRS) {
    endAsking();
    const fd = detachedTmpfs();
    if (fd === undefined) return undefined;
    scratch = { fd, pairs: 0 };
  }
  const { fd } = scratch, pair = ++scratch.pairs;
  const [one, other] = ["one", "other"].map((name) => {
    const entry = entryName(`${name}-${pair}`);
    mkdirat(fd, entry, 0o700);
    return descriptorPath(fd, nameText(entry));
  });
  return { one, other };
}

/** Closes the file system that this thread keeps; it is made again when it is needed. */
export function endAsking(): void {
  if (scratch !== undefined) close(scratch.fd);
  scratch = undefined;
}

/** An empty file system that is attached nowhere and goes with its descriptor; Linux 5.2. */
function detachedTmpfs(): number | undefined {
  const context = tryFsopen("tmpfs");
  if (context < 0) return undefined;
  return withFd(context, () => {
    if (tryFsconfig(context, FSCONFIG_CMD_CREATE, null, null) < 0) return undefined;
    const fd = tryFsmount(context);
    return fd < 0 ? undefined : fd;
  });
}
