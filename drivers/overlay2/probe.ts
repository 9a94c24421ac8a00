/**
 * Tests the effects of this kernel's overlay mounts on their upper directory.
 *
 * A layer's upper directory has all its changes only if overlay writes no other marks into it than
 * whiteouts and opaque marks. Kernels before 4.8 copied up the opaque mark of a lower directory
 * together with it. With `redirect_dir` a renamed directory is a reference to a lower one, and with
 * `metacopy` a changed file is a reference to a lower file. The kernel's defaults decide about
 * these, even for layers that other programs mount in this store, so the test uses those defaults.
 *
 * If the kernel has the new mount calls, the mount is never attached, and ends when its descriptor
 * is closed.
 *
 * @module
 */
import { entryName } from "../../ffi/entry_name.ts";
import { EDQUOT, EINVAL, ENOSPC, EROFS, EXDEV, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  openat2,
  RESOLVE_INSIDE,
  withFd,
} from "../../ffi/files.ts";
import {
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  tryFsopen,
} from "../../ffi/fsmount.ts";
import { MNT_DETACH, mount, tryUmount } from "../../ffi/mount.ts";
import { tryFchmodat, tryRenameat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { descriptorPath, lgetxattr, lsetxattr } from "../../ffi/xattr.ts";
import type { Home } from "../../lib/store/home.ts";
import { PROBE_MOUNT, withProbeDirectory, withProbeInMemory } from "../union/probe_directory.ts";

/** The result of a probe. */
export interface Probed {
  /**
   * The reason why an upper directory alone does not show all changes of a layer; `undefined` if it
   * does.
   */
  readonly unreadable: string | undefined;
  readonly metacopy: boolean;
}

const DIRECTORIES = [
  "lower",
  "lower/dir",
  "lower/renamed",
  "upper-lower",
  "upper-lower/dir",
  "upper",
  "work",
];

/**
 * Makes a mount, changes files in it, and reads the upper directory.
 *
 * @param features the options of every overlay mount on this machine
 * @param api `old` to use only `mount(2)`
 */
export function probe(home: Home, features: readonly string[], api: "new" | "old"): Probed {
  const find = (scratch: number): Probed => {
    touch(scratch, "lower/file");
    const xattrs = features.includes("userxattr") ? "user.overlay" : "trusted.overlay";
    lsetxattr(descriptorPath(scratch, "upper-lower/dir"), `${xattrs}.opaque`, YES);
    return withOverlay(scratch, features, api, (root) => inspect(scratch, root, xattrs));
  };
  try {
    return withProbeDirectory(home, DIRECTORIES, find);
  } catch (error) {
    if (!(error instanceof SyscallError && NO_ROOM.has(error.errno))) throw error;
    return probeInMemory(find);
  }
}

/**
 * The errors if nothing can be created in the home. Then the test runs in memory: overlay behaves
 * the same on every file system that can be its upper.
 */
const NO_ROOM: ReadonlySet<number> = new Set([EDQUOT, ENOSPC, EROFS]);

function probeInMemory(find: (scratch: number) => Probed): Probed {
  try {
    return withProbeInMemory(DIRECTORIES, find);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const unreadable = `there is no space to probe the kernel's overlay: ${error.message}`;
    return { unreadable, metacopy: false };
  }
}

const YES = new TextEncoder().encode("y");

/**
 * Makes overlay copy up a directory, a renamed directory and a changed file, and reads the results
 * in the upper directory.
 */
function inspect(scratch: number, root: number, xattrs: string): Probed {
  touch(root, "dir/new");
  const renamed = tryRenameat(root, entryName("renamed"), root, entryName("moved"));
  if (renamed !== -EXDEV) unwrap(renamed, "renameat", "renamed");
  unwrap(tryFchmodat(root, entryName("file"), 0o600), "fchmodat", "file");

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

function touch(directory: number, path: string): void {
  close(openat2(directory, path, O_WRONLY | O_CREAT, RESOLVE_INSIDE, 0o700));
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
  return withFd(withoutSync(options, (all) => kind(all, path(PROBE_MOUNT))), use);
}

/**
 * Mounts `volatile`, if the kernel supports it (Linux 5.10): otherwise the unmount writes out all
 * dirty data of the file system below.
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

/** Returns a descriptor of a detached mount, which ends when the descriptor is closed. */
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

/** The same by `mount(2)`: the mount is attached to a path only until it is opened. */
function mountAt(options: readonly string[], target: string): number {
  mount({ source: "overlay", target, type: "overlay", data: options.join(",") });
  try {
    return open(target, O_RDONLY | O_DIRECTORY);
  } finally {
    tryUmount(target, MNT_DETACH);
  }
}
