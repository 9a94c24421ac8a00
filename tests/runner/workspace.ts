/** A directory for the images of one run. Those of killed runs are removed by the next run. */
import { existsSync } from "@std/fs";
import { join } from "@std/path";
import { close, O_CREAT, O_RDWR, open } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { statfs, TMPFS_MAGIC } from "../../ffi/statfs.ts";
import { cleanAll } from "./images.ts";

/** It is not the system's directory for temporary files, which may be in memory and too small. */
const ON_DISK = "/var/tmp";
const IN_MEMORY = "/dev/shm";
const BASES = [ON_DISK, IN_MEMORY].filter((base) => existsSync(base));

/**
 * The free memory from which a workspace may be in memory, in bytes. Images take some GiB, and
 * guests 3 GiB each.
 */
const ENOUGH_MEMORY = 12 * 2 ** 30;

/** A workspace. Disposing of it unmounts and removes everything in it. */
export interface Workspace extends Disposable {
  readonly directory: string;
}

export interface WorkspaceOptions {
  /** The existing directory in which it is made; by default one on disk for large files. */
  readonly base?: string;
  /** Whether it is in memory, if there is enough: then syncs do not wait for a disk. */
  readonly inMemory?: boolean;
}

/**
 * Makes a workspace, after it has removed those with the same prefix whose processes died.
 *
 * @param prefix a short text, because tests make Unix sockets below, whose paths have at most 107
 * bytes (unix(7))
 */
export function openWorkspace(
  prefix: string,
  { base, inMemory = false }: WorkspaceOptions = {},
): Workspace {
  for (const place of base === undefined ? BASES : [base]) {
    for (const { name } of Deno.readDirSync(place)) {
      if (name.startsWith(prefix)) removeAbandoned(join(place, name));
    }
  }
  const dir = base ?? (inMemory && hasEnoughMemory() ? IN_MEMORY : ON_DISK);
  const directory = Deno.makeTempDirSync({ dir, prefix });
  Deno.chmodSync(directory, 0o711); // engines run as other users in what is below
  const lock = openLock(directory);
  tryLock(lock, "exclusive");
  return {
    directory,
    [Symbol.dispose]() {
      cleanAll(directory);
      close(lock);
    },
  };
}

/** Whether there is enough free memory, and a file system in memory that may use it. */
function hasEnoughMemory(): boolean {
  if (!BASES.includes(IN_MEMORY)) return false;
  const { type, availableBytes } = statfs(IN_MEMORY);
  const bytes = Math.min(availableBytes, Deno.systemMemoryInfo().available);
  return type === TMPFS_MAGIC && bytes >= ENOUGH_MEMORY;
}

/** Removes a workspace, unless its run still holds the lock in it. */
function removeAbandoned(directory: string): void {
  const lock = openLock(directory);
  if (tryLock(lock, "exclusive")) cleanAll(directory);
  close(lock);
}

const openLock = (directory: string) => open(join(directory, "lock"), O_RDWR | O_CREAT, 0o600);
