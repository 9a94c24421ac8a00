/**
 * Writes that are skipped if the disk has no space for them.
 *
 * @module
 */
import { EDQUOT, ENOSPC, EROFS, SyscallError } from "../../ffi/errno.ts";

/** Runs `use`; returns `undefined` if a full or read-only file system refuses it. */
export function ifRoom<T>(use: () => T): T | undefined {
  try {
    return use();
  } catch (error) {
    if (!isNoRoom(error)) throw error;
    return undefined;
  }
}

/** Whether a system call failed because a file system is full or read-only. */
export const isNoRoom = (error: unknown): boolean =>
  error instanceof SyscallError && NO_ROOM.has(error.errno);

const NO_ROOM: ReadonlySet<number> = new Set([EDQUOT, ENOSPC, EROFS]);
