/**
 * What an overlay mount of this kernel does to its upper directory, found by doing it.
 *
 * A layer's upper directory says what the layer changes only where overlay writes nothing but whiteouts and
 * opaque marks into it. Kernels before 4.8 copied the opaque mark of a lower directory up with it; with
 * `redirect_dir` a renamed directory is a reference, with `metacopy` a changed file is one, to what lies
 * below. Defaults of the kernel decide, also for layers that others made in this store, so the mount here
 * has those defaults.
 *
 * The scratch directory is in the home's staging directory under a name no layer can have. Whoever uses it
 * holds a lock on it, so that {@linkcode disposeProbe}, which is called for all that is staged, deletes only
 * what a killed process left. Where the kernel has the new mount calls, the mount is never put into the tree
 * of mounts, and goes with its descriptor.
 *
 * @module
 */
import { EINVAL, ENOENT, EXDEV, SyscallError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  close,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  tryOpenat,
  withFd,
} from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import {
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  tryFsopen,
} from "../../ffi/fsmount.ts";
import { MNT_DETACH, mount, tryUmount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";
import { mkdirat, tryFchmodat, tryMkdirat, tryRenameat } from "../../ffi/tree.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { descriptorPath, lgetxattr, lsetxattr } from "../../ffi/xattr.ts";
import type { Home } from "../../lib/home.ts";
import { removeTree } from "../../lib/remove_tree.ts";

/** What was found. */
export interface Probed {
  /** Why an upper directory alone does not say what a layer changes; `undefined` where it does. */
  readonly unreadable: string | undefined;
  readonly metacopy: boolean;
}

/** No id begins with a dot. */
const PREFIX = ".probe-";

/** Whether a staged name is a probe's scratch directory. */
export const isProbe = (staged: string): boolean => staged.startsWith(PREFIX);

/**
 * Mounts, changes and looks.
 *
 * @param features options that every overlay mount here gets
 * @param api      `old` to mount by `mount(2)` alone
 */
export function probe(home: Home, features: readonly string[], api: "new" | "old"): Probed {
  for (;;) {
    const name = PREFIX + crypto.randomUUID();
    const path = home.staging(name);
    mkdirat(AT_FDCWD, path, 0o700);
    // Another process may have taken the directory for a leftover before it was locked: then try again.
    const scratch = tryOpenat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    if (scratch === -ENOENT) continue;
    try {
      tryLock(unwrap(scratch, "open", path), "exclusive", path);
      if (!prepare(scratch)) continue;
      const xattrs = features.includes("userxattr") ? "user.overlay" : "trusted.overlay";
      lsetxattr(descriptorPath(scratch, "upper-lower/dir"), `${xattrs}.opaque`, YES);
      return withOverlay(scratch, features, api, (root) => inspect(scratch, root, xattrs));
    } finally {
      close(scratch);
      disposeProbe(home, name);
    }
  }
}

const YES = new TextEncoder().encode("y");

/** Makes the directories of the mount; false where the scratch directory was deleted meanwhile. */
function prepare(scratch: number): boolean {
  const directories = ["lower", "lower/dir", "lower/renamed", "upper-lower", "upper-lower/dir"];
  for (const name of [...directories, "upper", "work", "merged"]) {
    const result = tryMkdirat(scratch, name, 0o755);
    if (result === -ENOENT) return false;
    unwrap(result, "mkdirat", name);
  }
  touch(scratch, "lower/file");
  return true;
}

/** Copies a directory, a renamed directory and a changed file up, and looks at what that wrote. */
function inspect(scratch: number, root: number, xattrs: string): Probed {
  touch(root, "dir/new");
  const renamed = tryRenameat(root, "renamed", root, "moved");
  if (renamed !== -EXDEV) unwrap(renamed, "renameat", "renamed");
  unwrap(tryFchmodat(root, "file", 0o600), "fchmodat", "file");

  const mark = (name: string, attribute: string) =>
    lgetxattr(descriptorPath(scratch, `upper/${name}`), `${xattrs}.${attribute}`);
  const metacopy = mark("file", "metacopy") !== undefined;
  const unreadable = mark("dir", "opaque")?.[0] === YES[0]
    ? "this kernel copies opaque marks up with directories; Linux 4.8 does not"
    : renamed === 0
    ? "redirect_dir is on: `echo N > /sys/module/overlay/parameters/redirect_dir` turns it off"
    : metacopy
    ? "metacopy is on: `echo N > /sys/module/overlay/parameters/metacopy` turns it off"
    : undefined;
  return { unreadable, metacopy };
}

function touch(directory: number, name: string): void {
  close(openat(directory, name, O_WRONLY | O_CREAT, 0o700));
}

function withOverlay<T>(
  scratch: number,
  features: readonly string[],
  api: "new" | "old",
  use: (root: number) => T,
): T {
  const path = (name: string) => descriptorPath(scratch, name);
  const options = [
    ...features,
    `lowerdir=${path("upper-lower")}:${path("lower")}`,
    `upperdir=${path("upper")}`,
    `workdir=${path("work")}`,
  ];
  const kind = api === "new" && contextsWork() ? mountDetached : mountAt;
  return withFd(withoutSync(options, (all) => kind(all, path("merged"))), use);
}

/**
 * Mounts `volatile` where the kernel can (Linux 5.10): without it, taking the mount down writes out all that
 * is dirty on the file system below.
 */
function withoutSync(options: string[], mountWith: (options: readonly string[]) => number): number {
  try {
    return mountWith([...options, "volatile"]);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== EINVAL) throw error;
    return mountWith(options);
  }
}

function contextsWork(): boolean {
  const context = tryFsopen("overlay");
  if (context >= 0) close(context);
  return context >= 0;
}

/** A descriptor of a mount that no path leads to, and that goes when the descriptor is closed. */
function mountDetached(options: readonly string[]): number {
  return withFd(fsopen("overlay"), (context) => {
    fsconfigString(context, "source", "overlay");
    for (const option of options) {
      const at = option.indexOf("=");
      if (at < 0) fsconfigFlag(context, option);
      else fsconfigString(context, option.slice(0, at), option.slice(at + 1));
    }
    fsconfigCreate(context);
    return fsmount(context);
  });
}

/** The same by `mount(2)`: at a path for the moment that it takes to open it and detach it again. */
function mountAt(options: readonly string[], target: string): number {
  mount({ source: "overlay", target, type: "overlay", data: options.join(",") });
  try {
    return open(target, O_RDONLY | O_DIRECTORY);
  } finally {
    tryUmount(target, MNT_DETACH);
  }
}

/** Deletes a probe's scratch directory and takes down its mount, unless somebody is using it. */
export function disposeProbe(home: Home, name: string): void {
  const path = home.staging(name);
  const fd = tryOpenat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd === -ENOENT) return;
  withFd(unwrap(fd, "open", path), (scratch) => {
    if (!tryLock(scratch, "exclusive", path)) return;
    const result = tryUmount(`${path}/merged`, MNT_DETACH | UMOUNT_NOFOLLOW);
    if (result !== -EINVAL && result !== -ENOENT) unwrap(result, "umount2", `${path}/merged`);
    removeTree(path);
  });
}
