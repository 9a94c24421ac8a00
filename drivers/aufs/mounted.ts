/**
 * The directories of a mount of aufs.
 *
 * mountinfo shows `si=<id of the mount>` and no branches. These are in sysfs, one in each file
 * `si_<id>/br<N>`: a path, `=` and its mode (`fs/aufs/sysfs.c`). If aufs was loaded with `brs=0`,
 * or if the kernel has no sysfs, they are at the end of mountinfo's options instead, after `br:`
 * (`fs/aufs/super.c`).
 *
 * @module
 */
import { EBUSY, ENODEV, SyscallError } from "../../ffi/errno.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { names } from "../../lib/base/processes.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";
import { type MountInfo, unescapeOctal } from "../../lib/mount/mountinfo.ts";
import { sleep } from "../../lib/base/sleep.ts";

/** The directory in which aufs lists the branches of its mounts. */
export const SYSFS = "/sys/fs/aufs";

/** The number of retries if a mount is being changed, and the milliseconds between them. */
const TRIES = 20, PAUSE = 100;

/**
 * Whether a directory is a branch of a mount of aufs.
 *
 * @param path the path of the directory
 * @param tail its last names, which no other directory has: another path with this end is checked
 * for being the same directory
 * @param sysfs {@linkcode SYSFS}
 * @throws {VeneerError} `failed precondition` if the branches of the mount are not listed
 */
export function hasBranch(mount: MountInfo, path: string, tail: string, sysfs: string): boolean {
  return branches(mount, sysfs).some(({ path: branch }) => isPathOf(branch, path, tail));
}

/**
 * The directory that a mount of aufs writes to, if there is one.
 *
 * @throws as {@linkcode hasBranch}
 */
export function writableBranch(mount: MountInfo, sysfs: string): string | undefined {
  return branches(mount, sysfs).find(({ mode }) => isWritable(mode))?.path;
}

/**
 * Whether a mount writes to a directory as its first branch, which is the only one that this
 * program makes writable. Detached mounts count, too. If aufs does not list branches in sysfs
 * (`brs=0`), no mount is found.
 *
 * @param path the path of the directory
 * @param sysfs {@linkcode SYSFS}
 */
export function isWrittenTo(path: string, sysfs: string): boolean {
  return names(sysfs).filter((name) => name.startsWith("si_"))
    .some((name) => isFirstBranch(`${sysfs}/${name}/br0`, path));
}

/**
 * Whether a mount's first branch is a directory that it writes to. True, too, if the mount cannot
 * be read because it is being changed.
 */
function isFirstBranch(file: string, path: string): boolean {
  try {
    const text = readBranch(file);
    if (text === undefined) return false;
    const { path: branch, mode } = parseBranch(unescapeOctal(text));
    return isWritable(mode) && isPathOf(branch, path, path.split("/").slice(-2).join("/"));
  } catch (error) {
    if (error instanceof SyscallError) return true;
    throw error;
  }
}

const isWritable = (mode: string) => /^rw\b/.test(mode);

/**
 * Whether a branch is the directory of a path, under this path or another one with the same tail.
 */
const isPathOf = (branch: string, path: string, tail: string) =>
  branch === path || (branch.endsWith(`/${tail}`) && isSame(branch, path));

/**
 * Whether a mount has a directory as its first branch and does not write to it: then it is the
 * mount of a view on the directory's layer.
 *
 * @throws as {@linkcode hasBranch}
 */
export function isTopOfView(mount: MountInfo, path: string, tail: string, sysfs: string): boolean {
  const [top] = branches(mount, sysfs);
  return top !== undefined && !isWritable(top.mode) && isPathOf(top.path, path, tail);
}

function isSame(path: string, other: string): boolean {
  const [one, two] = [tryLstat(path), tryLstat(other)];
  return one !== undefined && two !== undefined && one.isSameInode(two);
}

interface Branch {
  readonly path: string;
  /** Such as `rw` or `ro+wh`. */
  readonly mode: string;
}

function branches({ mountPoint, superOptions }: MountInfo, sysfs: string): Branch[] {
  const [, listed] = /,br:(.*)$/s.exec(superOptions) ?? [];
  if (listed !== undefined) return listed.split(":").map(parseBranch);
  const [, si] = /(?:^|,)si=([0-9a-f]+)/.exec(superOptions) ?? [];
  const found: Branch[] = [];
  for (let text; (text = readBranch(`${sysfs}/si_${si}/br${found.length}`)) !== undefined;) {
    found.push(parseBranch(unescapeOctal(text)));
  }
  // If none was found, the mount has ended meanwhile, or branches cannot be read here at all.
  if (found.length > 0 || tryLstat(sysfs) !== undefined) return found;
  throw new VeneerError(
    "failed precondition",
    `the layers mounted at ${mountPoint} are listed in ${sysfs}, which does not exist; mount sysfs at /sys`,
  );
}

/** `<path>=<mode>`. */
function parseBranch(text: string): Branch {
  const at = text.lastIndexOf("=");
  return { path: text.slice(0, at), mode: text.slice(at + 1) };
}

/**
 * A branch's line; `undefined` if there is no such branch. aufs reports a mount that is being
 * changed as busy.
 */
function readBranch(path: string): string | undefined {
  for (let left = TRIES;; left--) {
    try {
      return readSystemFile(path);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // The branch was removed after the file was opened.
      if (error.errno === ENODEV) return undefined;
      if (error.errno !== EBUSY || left === 0) throw error;
    }
    sleep(PAUSE);
  }
}
