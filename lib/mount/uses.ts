/**
 * The uses of a layer by any program: the mounts of every mount namespace.
 *
 * mountinfo of one process of each namespace shows the mounts that are attached somewhere. A mount
 * that was detached and is still held by a process is in none; for an overlay's upper directory the
 * kernel answers that, too (`upper_state.ts`).
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { EINVAL, ENOENT, ESRCH, SyscallError } from "../../ffi/errno.ts";
import { close, O_PATH, O_RDONLY, readToEnd, tryOpen, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { fstatfs, OVERLAY_MAGIC } from "../../ffi/statfs.ts";
import {
  describe,
  namespacedProcesses,
  pathsOf,
  processes,
  runsProgram,
} from "../base/processes.ts";
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

/** A use in words, for messages: the mount point, the namespace, and a process in it that one could end. */
export function describeUse({ mount, namespace, pid }: LayerUse): string {
  const process = runsProgram(pid) ? `, ${describe(pid)}` : "";
  return `${mount.mountPoint} (mount namespace ${namespace}${process})`;
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
