/**
 * Finds mounts, in all mount namespaces, that use layers which a repair is about to move.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { treeOf } from "../mount/mountinfo.ts";
import { describeUse, type LayerUse, mountsEverywhere } from "../mount/uses.ts";

/**
 * Throws if a mount uses one of some paths: as its mount point, as its root, or in its options.
 *
 * @param home an absolute path
 * @param paths relative to `home`; overlay's options may name them in this form too
 * @throws {VeneerError} `in use`
 */
export function requireUnmounted(what: string, home: string, paths: ReadonlySet<string>): void {
  const tree = treeOf(home);
  for (const use of mountsEverywhere()) {
    if (!uses(use, home, tree, paths)) continue;
    throw new VeneerError("in use", `${what} is mounted at ${describeUse(use)}; unmount it first`);
  }
}

function uses(
  { mount }: LayerUse,
  home: string,
  tree: ReturnType<typeof treeOf>,
  paths: ReadonlySet<string>,
): boolean {
  const { mountPoint, device, root, type, superOptions } = mount;
  if (isAmong(below(mountPoint, home), paths)) return true;
  if (tree !== undefined && device === tree.device && isAmong(below(root, tree.root), paths)) {
    return true;
  }
  if (type !== "overlay" && type !== "aufs") return false;
  return superOptions.split(/[,:=]/).some((word) => isAmong(below(word, home) ?? word, paths));
}

/** The part of a path below a directory. */
const below = (path: string, directory: string): string | undefined =>
  path.startsWith(`${directory}/`) ? path.slice(directory.length + 1) : undefined;

/** Whether a path is one of some paths, or below one. */
function isAmong(path: string | undefined, paths: ReadonlySet<string>): boolean {
  if (path === undefined) return false;
  for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) {
    if (paths.has(path.slice(0, at))) return true;
  }
  return false;
}
