/**
 * The uses of a layer by any program: the mounts of every mount namespace, and the state that
 * overlay itself keeps.
 *
 * mountinfo of one process of each namespace shows the mounts that are attached somewhere. A mount
 * that was detached and is still held by a process is in none; for an overlay's upper directory the
 * kernel answers that, too ({@linkcode stateOfUpper}).
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { entryName, nameText } from "../../ffi/entry_name.ts";
import { EBUSY, EINVAL, ENOENT, ESRCH, SyscallError } from "../../ffi/errno.ts";
import { close, O_PATH, O_RDONLY, readToEnd, tryOpen, withFd } from "../../ffi/files.ts";
import {
  FSCONFIG_CMD_CREATE,
  fsconfigString,
  fsopen,
  tryFsconfig,
  tryFsmount,
  tryFsopen,
} from "../../ffi/fsmount.ts";
import { fstat } from "../../ffi/stat.ts";
import { BTRFS_MAGIC, EXT_MAGIC, fstatfs, OVERLAY_MAGIC, XFS_MAGIC } from "../../ffi/statfs.ts";
import { mkdirat } from "../../ffi/names.ts";
import { descriptorPath } from "../../ffi/xattr.ts";
import { isKernelAtLeast } from "../base/kernel.ts";
import { describe, namespacedProcesses, pathsOf, processes } from "../base/processes.ts";
import { type MountInfo, parseMountInfo } from "./mountinfo.ts";

/** The marks of a layer's mounts. A mount with any of them is the layer's. */
export interface LayerMarks {
  /** The mount points that drivers of this layout use for it: absolute paths. */
  readonly mountPoints: readonly string[];
  /** Its directories that are an overlay's or aufs's branches, absolute. */
  readonly branches?: readonly string[];
  /**
   * Its directory in a mount's root field, as bind mounts of it, or of a directory in it, show it.
   */
  readonly tree?: { readonly device: string; readonly root: string };
  /** `major:minor` of the block device that it lies on alone. */
  readonly device?: string;
}

/** A mount of a layer. */
export interface LayerUse {
  readonly mount: MountInfo;
  /** The mount namespace's inode, as `/proc/<pid>/ns/mnt` shows it. */
  readonly namespace: string;
  /** A process that lives in the namespace. */
  readonly pid: string;
}

/** A use in words, for messages: the mount point, the namespace, and a process in it. */
export function describeUse({ mount, namespace, pid }: LayerUse): string {
  return `${mount.mountPoint} (mount namespace ${namespace}, ${describe(pid)})`;
}

/** The mounts of a layer in all mount namespaces, in the order in which they were made in each. */
export function* usesOf(marks: LayerMarks): Generator<LayerUse> {
  for (const use of mountsEverywhere()) if (isOf(use.mount, marks)) yield use;
}

/**
 * Every mount of all mount namespaces whose line of mountinfo contains a text. In the text, spaces,
 * commas and backslashes of names are written in octal, as the kernel writes them.
 */
export function* mountsEverywhere(text = ""): Generator<LayerUse> {
  const read = new Set<string>();
  for (const { pid, namespace } of namespacedProcesses()) {
    const lines = read.has(namespace) ? undefined : mountLines(pid);
    // Gone meanwhile: another process of the namespace shows the same.
    if (lines === undefined) continue;
    read.add(namespace);
    for (const line of lines) {
      if (line.includes(text)) yield { mount: parseMountInfo(line), namespace, pid };
    }
  }
}

/**
 * The processes, at most three, that hold something of an overlay mount which is attached in no
 * namespace.
 */
export function holdersOfDetached(): string[] {
  const attached = new Set(
    Array.from(mountsEverywhere(" - overlay "), ({ mount }) => mount.device),
  );
  const holders: string[] = [];
  for (const pid of processes()) {
    if (pid === String(Deno.pid) || !pathsOf(pid).some((path) => isDetached(path, attached))) {
      continue;
    }
    holders.push(describe(pid));
    if (holders.length === 3) break;
  }
  return holders;
}

/** Whether a link in `/proc` leads into an overlay with a device other than those given. */
function isDetached(path: string, attached: ReadonlySet<string>): boolean {
  const fd = tryOpen(path, O_PATH);
  if (fd < 0) return false; // Processes end while they are looked at.
  return withFd(fd, () => {
    if (fstatfs(fd).type !== OVERLAY_MAGIC) return false;
    const { devMajor, devMinor } = fstat(fd);
    return !attached.has(`${devMajor}:${devMinor}`);
  });
}

/** The lines of a process's mountinfo; nothing if the process has ended. */
function mountLines(pid: string): string[] | undefined {
  const path = `/proc/${pid}/mountinfo`;
  const fd = tryOpen(path, O_RDONLY);
  // EINVAL: it is a zombie, or about to be, and in no namespace any more (`mounts_open_common`).
  if (fd === -ENOENT || fd === -ESRCH || fd === -EINVAL) return undefined;
  if (fd < 0) throw new SyscallError("open", -fd, path);
  try {
    return decode(readToEnd(fd)).split("\n").filter(Boolean);
  } catch (error) {
    if (error instanceof SyscallError && (error.errno === EINVAL || error.errno === ESRCH)) {
      return undefined;
    }
    throw error;
  } finally {
    close(fd);
  }
}

function isOf(mount: MountInfo, { mountPoints, branches = [], tree, device }: LayerMarks): boolean {
  if (mountPoints.includes(mount.mountPoint)) return true;
  if (device !== undefined && mount.device === device) return true;
  if (tree !== undefined && mount.device === tree.device && isWithin(mount.root, tree.root)) {
    return true;
  }
  return branches.some((branch) => hasBranch(mount, branch));
}

const isWithin = (path: string, directory: string) =>
  path === directory || path.startsWith(`${directory}/`);

/** Whether a union mount's options name a directory as upper, lower or branch. */
function hasBranch({ type, superOptions }: MountInfo, branch: string): boolean {
  if (type !== "overlay" && type !== "aufs") return false;
  for (let at = superOptions.indexOf(branch); at >= 0; at = superOptions.indexOf(branch, at + 1)) {
    const before = superOptions[at - 1], after = superOptions[at + branch.length];
    if ((before === "=" || before === ":") && (after === undefined || /[,:=]/.test(after))) {
      return true;
    }
  }
  return false;
}

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
  const scratch = detachedTmpfs();
  if (scratch === undefined) return "unknown";
  try {
    for (const name of [LOWER, UPPER, WORK]) mkdirat(scratch, name, 0o700);
    const answer = canAskAsLower(upper) ? askAsLower(upper, scratch) : "unknown";
    return answer === "unknown" ? askAsUpper(upper, scratch) : answer;
  } catch (error) {
    if (error instanceof SyscallError) return "unknown";
    throw error;
  } finally {
    close(scratch);
  }
}

const LOWER = entryName("lower"), UPPER = entryName("upper"), WORK = entryName("work");

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

/**
 * Makes an overlay with the directory as its lower one, and drops it again. With `index=on` a lower
 * that is the upper of another mount is refused (EBUSY: `ovl_get_layers` of
 * `fs/overlayfs/super.c`); a free one is taken without a word.
 */
function askAsLower(directory: number, scratch: number): UpperState {
  const result = tryOverlay({
    lowerdir: descriptorPath(directory),
    upperdir: descriptorPath(scratch, nameText(UPPER)),
    workdir: descriptorPath(scratch, nameText(WORK)),
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
function askAsUpper(upper: number, scratch: number): UpperState {
  const result = tryOverlay({
    lowerdir: descriptorPath(scratch, nameText(LOWER)),
    upperdir: descriptorPath(upper),
    workdir: descriptorPath(scratch, nameText(WORK)),
  });
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
