/**
 * Which directories an overlay mount is made of, as mountinfo tells it.
 *
 * @module
 */
import { tryLstat } from "../../ffi/stat.ts";
import type { MountInfo } from "../../lib/mount/mountinfo.ts";

/**
 * Whether a directory is among those that an overlay mount is made of.
 *
 * The kernel shows each as it was named at the mount: from the root or, if names would have been
 * too long, from a working directory or a descriptor. So only the end of a name is compared, and
 * any beginning is accepted, unless it is the path of another directory.
 *
 * @param path of the directory
 * @param tail its last names, which are like no other's and have nothing to escape
 */
export function hasDirectory(
  { type, superOptions }: MountInfo,
  path: string,
  tail: string,
): boolean {
  if (type !== "overlay") return false;
  for (let at = -1; (at = superOptions.indexOf(tail, at + 1)) >= 0;) {
    const end = at + tail.length;
    if (!"/=:".includes(superOptions[at - 1]) || !",:".includes(superOptions[end] ?? ",")) continue;
    const start = Math.max(...["=", ":"].map((before) => superOptions.lastIndexOf(before, at))) + 1;
    if (couldBe(superOptions.slice(start, end), path)) return true;
  }
  return false;
}

/**
 * Whether an overlay mount without an upper directory has a directory on top: the mount of a view
 * on its layer.
 */
export function isTopOfView(mount: MountInfo, path: string, tail: string): boolean {
  if (/(?:^|,)upperdir=/.test(mount.superOptions)) return false;
  const [, top = ""] = /(?:^|,)lowerdir\+?=((?:[^:,\\]|\\.)*)/.exec(mount.superOptions) ?? [];
  return hasDirectory({ ...mount, superOptions: `lowerdir=${top}` }, path, tail);
}

function couldBe(name: string, path: string): boolean {
  if (name === path || !name.startsWith("/") || name.startsWith("/proc/")) return true;
  const named = tryLstat(name);
  return named !== undefined && named.isSameInode(tryLstat(path) ?? named);
}
