/**
 * Which directories a mount of aufs is made of.
 *
 * mountinfo shows `si=<id of the mount>` and no branches; these are in sysfs, one a file,
 * `si_<id>/br<N>`, each a path, `=` and its mode (`fs/aufs/sysfs.c`). If aufs was loaded with
 * `brs=0`, and if the kernel has no sysfs, they end the options that mountinfo shows instead,
 * behind `br:` (`fs/aufs/super.c`).
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

/** How often a mount that is being changed is read again, and the time between in milliseconds. */
const TRIES = 20, PAUSE = 100;

/**
 * Whether a directory is a branch of a mount of aufs.
 *
 * @param path of the directory
 * @param tail its last names, which are like no other's; another path that ends so is looked at
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
 * Whether a mount writes to a directory as its first branch, which is the one that this program
 * makes writable. Detached mounts count, too. If aufs does not list branches (`brs=0`), none is
 * found.
 *
 * @param path of the directory
 * @param sysfs {@linkcode SYSFS}
 */
export function isWrittenTo(path: string, sysfs: string): boolean {
  return names(sysfs).filter((name) => name.startsWith("si_"))
    .some((name) => isFirstBranch(`${sysfs}/${name}/br0`, path));
}

/** True as well for a mount that does not answer, because it is being changed. */
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

/** Whether a branch is a directory, under its path or another one with the same tail. */
const isPathOf = (branch: string, path: string, tail: string) =>
  branch === path || (branch.endsWith(`/${tail}`) && isSame(branch, path));

/**
 * Whether a mount shows a directory above all others and writes to none: the mount of a view on its
 * layer.
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
  // None: the mount has gone meanwhile, or nothing is to be read here of any.
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
 * A branch's line; `undefined` after the last one. aufs reports a mount that is being changed as
 * busy.
 */
function readBranch(path: string): string | undefined {
  for (let left = TRIES;; left--) {
    try {
      return readSystemFile(path);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // It went between the opening and the reading of it.
      if (error.errno === ENODEV) return undefined;
      if (error.errno !== EBUSY || left === 0) throw error;
    }
    sleep(PAUSE);
  }
}
