/**
 * The directory of the state of all homes, and the parts that are not one home's alone.
 *
 * @module
 */
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  open as openTrusted,
} from "../../ffi/files.ts";
import { tryMkdir } from "../../ffi/paths.ts";
import { EEXIST, ENOENT, EROFS } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../base/errors.ts";
import { type ConfinedPath, ConfinedRoot, makeDirectory, open } from "../tree/confined.ts";
import type { Home } from "./home.ts";
import { waitForLock } from "./lock_wait.ts";
import { requireTrustedOwner } from "./trusted_owner.ts";

/** The directory of the state of all homes. */
export const RUN_ROOT = "/run/veneer";

/** The directory of all state, open; it is made if it is missing. */
export class RunRoot implements Disposable {
  readonly fd: number;
  readonly root: ConfinedRoot;

  /**
   * @throws {VeneerError} `incompatible` if it is not a directory of root's alone,
   * `failed precondition` if it cannot be made
   */
  constructor() {
    const made = tryMkdir(RUN_ROOT, 0o711);
    if (made === -EROFS || made === -ENOENT) {
      throw new VeneerError(
        "failed precondition",
        `${RUN_ROOT}, which has the locks of all stores, cannot be made: /run ${
          made === -EROFS ? "is read-only" : "does not exist"
        }; mount a tmpfs there`,
      );
    }
    if (made !== -EEXIST) unwrap(made, "mkdir", RUN_ROOT);
    this.fd = openTrusted(RUN_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      requireTrustedOwner(this.fd, RUN_ROOT);
      this.root = ConfinedRoot.of(RUN_ROOT, this.fd);
    } catch (error) {
      close(this.fd);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    close(this.fd);
  }
}

/** The directory of a home's state; only root can enter it. */
export function runDirectory({ device, inode }: Home): string {
  return `${RUN_ROOT}/${stateName(device, inode)}`;
}

/** The name of the state of a home, by the device and inode of its directory. */
export function stateName(device: string, inode: bigint): string {
  return `${device.replace(":", ".")}-${inode}`;
}

/**
 * The directory of mount points for layers that are not mounted in their home. It exists when this
 * returns.
 */
export function mountsBeside(home: Home): ConfinedPath {
  using run = new RunRoot();
  waitForLock(run.fd, "shared", RUN_ROOT);
  const state = run.root.join(stateName(home.device, home.inode));
  makeDirectory(state, 0o700);
  const mounts = state.join("mounts");
  makeDirectory(mounts, 0o700);
  return mounts;
}

/** The directory of records that a service keeps until the next boot. */
export function serviceRecords(): ConfinedPath {
  using run = new RunRoot();
  const records = run.root.join("services");
  makeDirectory(records, 0o700);
  return records;
}

/**
 * Holds the giving out of a file system's project ids, until disposed of: all stores on it choose
 * from the same ids.
 *
 * @param device of the file system, as `major:minor`
 */
export function lockProjects(device: string): Disposable {
  using run = new RunRoot();
  const locks = run.root.join("projects");
  makeDirectory(locks, 0o700);
  const file = locks.join(device.replace(":", "."));
  const fd = open(file, O_RDWR | O_CREAT, 0o600);
  try {
    waitForLock(fd, "exclusive", file.text);
  } catch (error) {
    close(fd);
    throw error;
  }
  return { [Symbol.dispose]: () => close(fd) };
}
