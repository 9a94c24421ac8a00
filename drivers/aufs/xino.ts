/**
 * The files of aufs's tables of inode numbers (`xino`).
 *
 * aufs creates the file and unlinks it at once, so it is visible only during the mount call; an
 * existing file is refused. In memory the tables are fast, and aufs does not write them to a
 * branch. Each mount has its own file: two mounts at the same time with the same name would
 * collide, which aufs reports as an invalid argument. The names can be guessed, so only root may
 * write to the directory.
 *
 * @module
 */
import { statfs, TMPFS_MAGIC } from "../../ffi/statfs.ts";
import { type Home, nearestExisting } from "../../lib/store/home.ts";
import { RUN_ROOT, runDirectory } from "../../lib/store/run_root.ts";

/** Whether `/run` is in memory on this machine. */
export function isRunInMemory(): boolean {
  return statfs(nearestExisting(RUN_ROOT, ".")).type === TMPFS_MAGIC;
}

/**
 * The directory for a home's tables: that of its state in `/run`, if `/run` is in memory, or else
 * that of Veneer's records in the home.
 */
export function xinoDirectory(home: Home): string {
  return isRunInMemory() ? runDirectory(home) : home.own().text;
}

/**
 * The file for a mount's tables.
 *
 * @param directory as {@linkcode xinoDirectory} returned it; if it is `undefined`, aufs puts the
 * file into the writable branch
 * @param name the mount's name: letters, digits, `_`, `.` and `-`
 */
export function xinoPath(directory: string | undefined, name: string): string | undefined {
  return directory === undefined ? undefined : `${directory}/aufs-${name}.xino`;
}
