/**
 * Where aufs makes its tables of inode numbers (`xino`).
 *
 * It makes the file, refusing one that is there, and unlinks it at once: nobody sees it for longer than the
 * mount takes. In memory the tables are quick, and no branch is written to for them. Each mount has a name of
 * its own, since two mounts at the same time would get into each other's way under one, and aufs reports that
 * as an invalid argument.
 *
 * @module
 */
import { tryLstat } from "../../ffi/stat.ts";

/** The directory for the tables, where this machine has one: a tmpfs. */
export function xinoDirectory(directory = "/dev/shm"): string | undefined {
  return tryLstat(directory)?.isDirectory ? directory : undefined;
}

/**
 * The file for a mount.
 *
 * @param directory as {@linkcode xinoDirectory} found it; without one, aufs puts the file into the writable branch
 * @param name of the mount: letters, digits, `_`, `.` and `-`
 */
export function xinoPath(directory: string | undefined, name: string): string | undefined {
  return directory === undefined ? undefined : `${directory}/aufs-${name}.xino`;
}
