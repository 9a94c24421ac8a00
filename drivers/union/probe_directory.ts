/**
 * Scratch directories for trying a mount.
 *
 * Such a directory is in the home's staging directory, under a name that no layer can have. The
 * process that uses it holds a lock on it, so that {@linkcode disposeProbe}, which is called for
 * every staged probe, deletes only those of killed processes.
 *
 * @module
 */
import { basename, dirname } from "@std/path";
import { entryName } from "../../ffi/entry_name.ts";
import { EINVAL, ELOOP, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import {
  close,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  RESOLVE_INSIDE,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { fsconfigCreate, fsmount, fsopen } from "../../ffi/fsmount.ts";
import { MNT_DETACH, tryUmount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";
import { tryMkdirat } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { descriptorPath } from "../../ffi/xattr.ts";
import { mkdir, removeTree, tryOpen, unwrapConfined } from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";

/** No id begins with a dot. */
const PREFIX = ".probe-";

/** The mount point in a probe's directory; its mount is taken down with the probe. */
export const PROBE_MOUNT = "merged";

/** Whether a staged name is a probe's scratch directory. */
export const isProbe = (staged: string): boolean => staged.startsWith(PREFIX);

/**
 * Calls `use` with a new scratch directory, which is deleted afterwards.
 *
 * @param directories made in it, beside {@linkcode PROBE_MOUNT}; parents before children
 * @param use gets a descriptor of it and its absolute path
 */
export function withProbeDirectory<T>(
  home: Home,
  directories: readonly string[],
  use: (scratch: number, path: string) => T,
): T {
  for (;;) {
    const name = PREFIX + crypto.randomUUID();
    const path = home.staging(name);
    mkdir(path, 0o700);
    // Another process may have deleted the directory as a leftover before it was locked: then try
    // again.
    const scratch = tryOpen(path, O_RDONLY | O_DIRECTORY);
    if (scratch === -ENOENT) continue;
    try {
      tryLock(unwrapConfined(scratch, "open", path), "exclusive", path.text);
      if (makeAll(scratch, [...directories, PROBE_MOUNT])) return use(scratch, path.text);
    } finally {
      close(scratch);
      disposeProbe(home, name);
    }
  }
}

/**
 * The same in memory, in a file system that is mounted nowhere: for a home that cannot be written
 * to.
 *
 * @throws {SyscallError} `ENOSYS` before Linux 5.2
 */
export function withProbeInMemory<T>(
  directories: readonly string[],
  use: (scratch: number) => T,
): T {
  const scratch = withFd(fsopen("tmpfs"), (context) => {
    fsconfigCreate(context);
    return fsmount(context);
  });
  return withFd(scratch, () => {
    makeAll(scratch, [...directories, PROBE_MOUNT]);
    return use(scratch);
  });
}

/** Makes all of them; returns false if the scratch directory was deleted meanwhile. */
function makeAll(scratch: number, directories: readonly string[]): boolean {
  for (const name of directories) {
    const result = makeBelow(scratch, name);
    if (result === -ENOENT) return false;
    unwrap(result, "mkdirat", name);
  }
  return true;
}

/**
 * Makes the directory at a path of one or two names; the first of two must exist. Returns the raw
 * result.
 */
function makeBelow(scratch: number, path: string): number {
  const above = tryOpenat2(scratch, dirname(path), O_PATH | O_DIRECTORY, RESOLVE_INSIDE);
  return above < 0
    ? above
    : withFd(above, () => tryMkdirat(above, entryName(basename(path)), 0o755));
}

/** Deletes a probe's scratch directory and takes down its mount, unless it is in use. */
export function disposeProbe(home: Home, name: string): void {
  const path = home.staging(name);
  const fd = tryOpen(path, O_RDONLY | O_DIRECTORY);
  if (fd === -ENOENT) return;
  if (fd === -ENOTDIR || fd === -ELOOP) return removeTree(path);
  withFd(unwrapConfined(fd, "open", path), (scratch) => {
    if (!tryLock(scratch, "exclusive", path.text)) return;
    const mounted = descriptorPath(scratch, PROBE_MOUNT);
    const result = tryUmount(mounted, MNT_DETACH | UMOUNT_NOFOLLOW);
    if (result !== -EINVAL && result !== -ENOENT) {
      unwrap(result, "umount2", `${path}/${PROBE_MOUNT}`);
    }
    removeTree(path);
  });
}
