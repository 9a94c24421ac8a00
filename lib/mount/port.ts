/**
 * The mount port of this kernel: carries out the mount calls of plans.
 *
 * @module
 */
import { dirname } from "@std/path";
import { close, O_DIRECTORY, O_PATH, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import {
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  tryMoveMount,
} from "../../ffi/fsmount.ts";
import { EINVAL } from "../../ffi/errno.ts";
import { type MountRequest, MS_BIND, tryMount, umount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";
import { fchdir } from "../../ffi/process.ts";
import { calls } from "../../ffi/trace.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { descriptorPath } from "../../ffi/xattr.ts";
import { openWithoutLinks } from "../tree/confined.ts";
import type { MountPort, MountStep } from "./plan.ts";
import { unmountUnused } from "./unmount.ts";

/** Mounts for real. */
export const kernelMountPort: MountPort = {
  mount(step: MountStep & { kind: "mount" | "append" }): void {
    const { target, type, flags, data } = step;
    calls.tell?.(
      `mount ${type || "none"} on ${target}: ${data || "no options"}, flags 0x${
        flags.toString(16)
      }`,
    );
    using reached = new Reached();
    const isBind = step.kind === "mount" && (flags & MS_BIND) !== 0;
    const source = step.kind !== "mount"
      ? "none"
      : isBind
      ? reached.path(step.source)
      : step.source;
    const request = { source, target: reached.path(target), type, flags, data };
    if (step.kind === "mount" && step.from !== undefined) {
      inDirectory(step.from, () => attempt(request, target));
    } else if (step.kind === "mount" && step.plainData !== undefined) {
      const result = tryMount(request);
      if (result === -EINVAL) attempt({ ...request, data: step.plainData }, target);
      else unwrap(result, "mount", target);
    } else {
      attempt(request, target);
    }
  },

  fsmount(step: MountStep & { kind: "fsmount" }): void {
    calls.tell?.(
      `fsmount ${step.type} on ${step.target}: ${
        step.parameters.map(({ key, value }) => value === undefined ? key : `${key}=${value}`)
      }`,
    );
    if (step.from === undefined) return newMount(step, (name) => name);
    withFd(
      openWithoutLinks(step.from, O_PATH | O_DIRECTORY),
      (directory) => newMount(step, (name) => descriptorPath(directory, name)),
    );
  },

  unmount(target: string, flags: number): void {
    calls.tell?.(`umount ${target}${flags === 0 ? "" : `, flags 0x${flags.toString(16)}`}`);
    // By its path, as a descriptor of it would keep it busy.
    close(openWithoutLinks(dirname(target), O_PATH | O_DIRECTORY));
    if (flags === 0) unmountUnused(target);
    else umount(target, flags | UMOUNT_NOFOLLOW);
  },
};

/**
 * Places of a mount call, opened through no link, so that the call uses these even if their paths
 * are changed meanwhile.
 */
class Reached implements Disposable {
  readonly #fds: number[] = [];

  /** A path to give to the kernel instead of a path. */
  path(path: string): string {
    const fd = openWithoutLinks(path, O_PATH);
    this.#fds.push(fd);
    return `/proc/self/fd/${fd}`;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) close(fd);
  }
}

/** Mounts; a failure names the target. */
function attempt(request: MountRequest, target: string): void {
  unwrap(tryMount(request), "mount", target);
}

/**
 * Configures, creates and attaches a file system; `resolve` returns the form in which a path
 * parameter is written.
 */
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
    withFd(fsmount(context, step.attributes), (mounted) => {
      using reached = new Reached();
      // With a dot at its end, since `move_mount` does not follow a link that its target is.
      const result = tryMoveMount(mounted, `${reached.path(step.target)}/.`);
      unwrap(result, "move_mount", step.target);
    });
  } finally {
    close(context);
  }
}

/**
 * Runs `use` with the calling thread's working directory at `path`, and then back. The thread's
 * working directory is separated from those of other threads first, so their relative paths stay
 * valid.
 */
function inDirectory(path: string, use: () => void): void {
  withFd(open(".", O_RDONLY | O_DIRECTORY), (before) => {
    withFd(openWithoutLinks(path, O_RDONLY | O_DIRECTORY), fchdir);
    try {
      use();
    } finally {
      fchdir(before);
    }
  });
}
