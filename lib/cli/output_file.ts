/**
 * A file that appears when it is complete: what fails midway leaves nothing, and what was there before stays.
 *
 * @module
 */
import { EEXIST } from "../../ffi/errno.ts";
import { O_CREAT, O_EXCL, O_WRONLY, open, tryOpen, withFd } from "../../ffi/files.ts";
import { rename, tryUnlink } from "../../ffi/paths.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../errors.ts";

/** A layer may hold what only root may read. */
const MODE = 0o600;

/**
 * Runs `write` on a descriptor whose content becomes `file`.
 *
 * A device, pipe or socket is written to as it is: nothing could take its place. A symbolic link is
 * followed.
 *
 * @throws {VeneerError} `invalid argument` for a directory, and what `write` throws
 */
export function writeOutputFile<T>(file: string, write: (fd: number) => T): T {
  const existing = tryStat(file);
  if (existing?.isDirectory) {
    throw new VeneerError("invalid argument", `${file} is a directory; name a file`);
  }
  if (existing && !existing.isFile) return withFd(open(file, O_WRONLY), write);

  const target = existing ? Deno.realPathSync(file) : file;
  const temporary = `${target}.${Deno.pid}.tmp`;
  const fd = openNew(temporary);
  try {
    const result = withFd(fd, write);
    rename(temporary, target);
    return result;
  } catch (error) {
    tryUnlink(temporary);
    throw error;
  }
}

/** A new file, never one that somebody put there; but what a killed process of our number left goes. */
function openNew(path: string): number {
  const flags = O_WRONLY | O_CREAT | O_EXCL;
  const fd = tryOpen(path, flags, MODE);
  if (fd !== -EEXIST) return unwrap(fd, "open", path);
  tryUnlink(path);
  return open(path, flags, MODE);
}

function tryStat(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
