/**
 * The mount port of this kernel: carries out the mount calls of plans.
 *
 * @module
 */
import { close, O_DIRECTORY, O_PATH, O_RDONLY, open, withFd } from "../ffi/files.ts";
import {
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  moveMount,
} from "../ffi/fsmount.ts";
import { EINVAL } from "../ffi/errno.ts";
import { mount, tryMount, umount, UMOUNT_NOFOLLOW } from "../ffi/mount.ts";
import { fchdir } from "../ffi/process.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { descriptorPath } from "../ffi/xattr.ts";
import type { MountPort, MountStep } from "./mount_plan.ts";

/** Mounts for real. */
export const kernelMountPort: MountPort = {
  mount(step: MountStep & { kind: "mount" | "append" }): void {
    const { target, type, flags, data } = step;
    const source = step.kind === "mount" ? step.source : "none";
    const request = { source, target, type, flags, data };
    if (step.kind === "mount" && step.from !== undefined) {
      inDirectory(step.from, () => mount(request));
    } else if (step.kind === "mount" && step.plainData !== undefined) {
      const result = tryMount(request);
      if (result === -EINVAL) mount({ ...request, data: step.plainData });
      else unwrap(result, "mount", target);
    } else {
      mount(request);
    }
  },

  fsmount(step: MountStep & { kind: "fsmount" }): void {
    if (step.from === undefined) return newMount(step, (name) => name);
    withFd(
      open(step.from, O_PATH | O_DIRECTORY),
      (directory) => newMount(step, (name) => descriptorPath(directory, name)),
    );
  },

  unmount(target: string, flags: number): void {
    umount(target, flags | UMOUNT_NOFOLLOW);
  },
};

/** Configures, creates and attaches a file system; `resolve` says how a path parameter is written. */
function newMount(
  step: MountStep & { kind: "fsmount" },
  resolve: (name: string) => string,
): void {
  const context = fsopen(step.type);
  try {
    fsconfigString(context, "source", step.source);
    for (const { key, value, path } of step.parameters) {
      if (value === undefined) fsconfigFlag(context, key);
      else fsconfigString(context, key, path ? resolve(value) : value);
    }
    fsconfigCreate(context);
    withFd(fsmount(context, step.attributes), (mounted) => moveMount(mounted, step.target));
  } finally {
    close(context);
  }
}

/**
 * Runs `use` with the calling thread's working directory at `path`, and then back. The thread gets a working
 * directory of its own for it, so that no other thread's relative paths move.
 */
function inDirectory(path: string, use: () => void): void {
  withFd(open(".", O_RDONLY | O_DIRECTORY), (before) => {
    withFd(open(path, O_RDONLY | O_DIRECTORY), fchdir);
    try {
      use();
    } finally {
      fchdir(before);
    }
  });
}
