/**
 * Mount plans: how a layer is mounted, as data.
 *
 * A driver makes a plan; nothing is done until {@linkcode performPlan} carries it out, step by
 * step, and undoes the steps already done, last first, if one fails. {@linkcode undoPlan} takes the
 * whole down again. Both go through a {@linkcode MountPort}, so that a test can write down the very
 * calls a driver asks for without a kernel that understands them.
 *
 * @module
 */
import { EBUSY, EEXIST, ENOENT, ENOTEMPTY, SyscallError } from "../../ffi/errno.ts";
import { MNT_DETACH, MS_BIND, MS_RDONLY, MS_REMOUNT } from "../../ffi/mount.ts";
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import {
  type ConfinedPath,
  lchown,
  tryMkdir,
  tryUnlink,
  unwrapConfined,
} from "../tree/confined.ts";
import { sleep } from "../base/sleep.ts";

/** The time between two tries to unmount a busy mount, in milliseconds. */
const BUSY_PAUSE = 100;

/** A mount as containerd speaks of one: for someone else to perform. */
export interface Mount {
  /** The file system's type, such as `"overlay"`; `"bind"` for a bind mount. */
  readonly type: string;
  /** A device, a directory, or a word that the type ignores. */
  readonly source: string;
  /** Mount options, such as `"ro"` or `"lowerdir=…"`. */
  readonly options: readonly string[];
}

/** One step of a plan. */
export type MountStep =
  /** Make a directory to mount on, if there is none; undone by removing it. */
  | {
    readonly kind: "directory";
    readonly path: ConfinedPath;
    readonly mode: number;
    readonly uid: number;
    readonly gid: number;
  }
  /** `mount(2)`. If `from` is given, relative paths in `target` and `data` start there. */
  | {
    readonly kind: "mount";
    readonly source: string;
    readonly target: string;
    readonly type: string;
    /** `MS_*` of `ffi/mount.ts`. */
    readonly flags: number;
    readonly data: string;
    /** Options for a second attempt, if the kernel calls `data` invalid. */
    readonly plainData?: string;
    readonly from?: string;
    readonly explain?: Explain;
    /**
     * How often, every {@linkcode BUSY_PAUSE}, a busy mount is unmounted again before it counts as
     * in use.
     */
    readonly busyRetries?: number;
  }
  /**
   * `fsopen`, `fsconfig` for each parameter, `fsmount`, `move_mount`. A parameter without a value
   * is a flag. If `from` is given, values marked `path` are names below that directory.
   */
  | {
    readonly kind: "fsmount";
    readonly source: string;
    readonly target: string;
    readonly type: string;
    /** `MOUNT_ATTR_*` of `ffi/fsmount.ts`. */
    readonly attributes: number;
    readonly parameters: readonly MountParameter[];
    readonly from?: string;
    readonly explain?: Explain;
  }
  /** A remount that adds to the mount of an earlier step; undone with it. */
  | {
    readonly kind: "append";
    readonly target: string;
    readonly type: string;
    readonly flags: number;
    readonly data: string;
    readonly explain?: Explain;
  }
  /** Anything a driver must do first, such as activating a device. */
  | {
    readonly kind: "prepare";
    /** For messages. */
    readonly name: string;
    readonly perform: () => void;
    readonly undo: () => void;
  };

/**
 * Called with the error of a failed mount call: throws one with the cause if it finds it, such as a
 * missing layer. Looking only then costs successful mounts nothing.
 */
export type Explain = (error: unknown) => void;

/** A parameter of `fsconfig(2)`; `path` is true if the value is a path. */
export interface MountParameter {
  readonly key: string;
  readonly value?: string;
  readonly path?: boolean;
}

/** How a layer is mounted. */
export interface MountPlan {
  /** The path of the layer's root afterwards. If no step mounts anything, it exists already. */
  readonly path: string;
  readonly steps: readonly MountStep[];
}

/** The calls by which a plan mounts and unmounts. Failures throw `SyscallError`. */
export interface MountPort {
  mount(step: MountStep & { kind: "mount" | "append" }): void;
  fsmount(step: MountStep & { kind: "fsmount" }): void;
  /** Flags are `MNT_*` of `ffi/mount.ts`. */
  unmount(target: string, flags: number): void;
}

/**
 * Shows a directory at another path, or at its own, read-only: a bind mount takes no flags but by a
 * remount.
 */
export function bindReadOnly(source: string, target: string): MountStep[] {
  const bind = { target, type: "none", data: "" };
  return [
    { ...bind, kind: "mount", source, flags: MS_BIND },
    { ...bind, kind: "append", flags: MS_REMOUNT | MS_BIND | MS_RDONLY },
  ];
}

/**
 * Looks at a layer's directories before they are mounted: the kernel follows links that its options
 * lead through, and `check` throws for them.
 */
export function checkStep(check: () => void): MountStep {
  return { kind: "prepare", name: "check the layers", perform: check, undo: () => {} };
}

/** Whether a plan leads to a mount. */
export function mountsSomething(plan: MountPlan): boolean {
  return plan.steps.some(({ kind }) => kind === "mount" || kind === "fsmount");
}

/**
 * Carries a plan out: all of it, or nothing.
 *
 * @throws the error of the failing step, after the steps before it were undone
 */
export function performPlan(plan: MountPlan, port: MountPort): void {
  const done: MountStep[] = [];
  try {
    for (const step of plan.steps) {
      if (attempt(step, port)) done.push(step);
    }
  } catch (error) {
    for (const step of done.reverse()) {
      try {
        undo(step, port, 0);
      } catch {
        // The first failure is reported; a mount that cannot be undone is swept later, as one
        // without users.
      }
    }
    throw error;
  }
}

/**
 * Takes down the mounts of {@linkcode performPlan}, last first. A busy mount is detached from the
 * tree and ends with its last user; `busy` gets its path.
 */
export function undoPlan(
  plan: MountPlan,
  port: MountPort,
  busy: (target: string, error: SyscallError) => void,
): void {
  for (const step of plan.steps.toReversed()) {
    try {
      undo(step, port, 0);
    } catch (error) {
      if (!(error instanceof SyscallError) || !("target" in step)) throw error;
      busy(step.target, error);
      undo(step, port, MNT_DETACH);
    }
  }
}

/** Performs a step, and explains a failure if the step can. */
function attempt(step: MountStep, port: MountPort): boolean {
  try {
    return perform(step, port);
  } catch (error) {
    if ("explain" in step) step.explain?.(error);
    throw error;
  }
}

/** Performs a step; false if there was nothing to do, and so is nothing to undo. */
function perform(step: MountStep, port: MountPort): boolean {
  switch (step.kind) {
    case "directory": {
      const result = tryMkdir(step.path, step.mode);
      if (result === -EEXIST) return false;
      unwrapConfined(result, "mkdir", step.path);
      if (step.uid !== 0 || step.gid !== 0) lchown(step.path, step.uid, step.gid);
      return true;
    }
    case "mount":
    case "append":
      port.mount(step);
      return true;
    case "fsmount":
      port.fsmount(step);
      return true;
    case "prepare":
      step.perform();
      return true;
  }
}

function undo(step: MountStep, port: MountPort, flags: number): void {
  switch (step.kind) {
    case "directory": {
      const result = tryUnlink(step.path, AT_REMOVEDIR);
      // Busy: still mounted, here or in another namespace. Not empty: not only ours.
      if (result === -ENOENT || result === -ENOTEMPTY || result === -EBUSY) return;
      unwrapConfined(result, "rmdir", step.path);
      return;
    }
    case "mount":
      unmount(step, port, flags);
      return;
    case "fsmount":
      port.unmount(step.target, flags);
      return;
    case "append":
      return;
    case "prepare":
      step.undo();
      return;
  }
}

function unmount(step: MountStep & { kind: "mount" }, port: MountPort, flags: number): void {
  for (let left = flags === 0 ? step.busyRetries ?? 0 : 0;; left--) {
    try {
      return port.unmount(step.target, flags);
    } catch (error) {
      if (left === 0 || !(error instanceof SyscallError) || error.errno !== EBUSY) throw error;
      sleep(BUSY_PAUSE);
    }
  }
}
