/**
 * The directories of an overlay mount, according to mountinfo.
 *
 * @module
 */
import { tryLstat } from "../../ffi/stat.ts";
import type { MountInfo } from "../../lib/mount/mountinfo.ts";

/**
 * Whether a directory is one of an overlay mount's.
 *
 * The kernel shows each path as it was given to the mount: an absolute path or, if the options
 * would have been too long, one relative to a working directory or a descriptor. So only the end of
 * a path is compared, and any beginning is accepted, unless the whole is the path of another
 * directory.
 *
 * @param path the directory's path
 * @param tail its last names, which no other directory has, and which need no escapes
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
 * Whether an overlay mount without an upper directory has a directory as its uppermost one: then it
 * is the mount of a view on the directory's layer.
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
