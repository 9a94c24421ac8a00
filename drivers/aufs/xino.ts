/**
 * The place of aufs's tables of inode numbers (`xino`).
 *
 * aufs creates the file, refuses an existing one, and unlinks it at once, so it is visible only
 * during the mount call. In memory the tables are quick, and no branch is written to for them. Each
 * mount has its own name, since two mounts at the same time would collide under one, which aufs
 * reports as an invalid argument. Only root can write to the directory, because the names can be
 * guessed.
 *
 * @module
 */
import { statfs, TMPFS_MAGIC } from "../../ffi/statfs.ts";
import { type Home, nearestExisting } from "../../lib/store/home.ts";
import { RUN_ROOT, runDirectory } from "../../lib/store/run_state.ts";

/** Whether `/run` is in memory here. */
export function isRunInMemory(): boolean {
  return statfs(nearestExisting(RUN_ROOT, ".")).type === TMPFS_MAGIC;
}

/**
 * The directory for a home's tables: that of its state in `/run` if that is in memory, else its own
 * records'.
 */
export function xinoDirectory(home: Home): string {
  return isRunInMemory() ? runDirectory(home) : home.own().text;
}

/**
 * The file for a mount.
 *
 * @param directory as {@linkcode xinoDirectory} found it; without one, aufs puts the file into the
 * writable branch
 * @param name of the mount: letters, digits, `_`, `.` and `-`
 */
export function xinoPath(directory: string | undefined, name: string): string | undefined {
  return directory === undefined ? undefined : `${directory}/aufs-${name}.xino`;
}
