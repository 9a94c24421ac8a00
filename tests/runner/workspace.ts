/**
 * A directory for images, for the time of one run: what a killed run left of its own is removed by the next.
 */
import { existsSync } from "@std/fs";
import { join } from "@std/path";
import { close, O_CREAT, O_RDWR, open } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { statfs, TMPFS_MAGIC } from "../../ffi/statfs.ts";
import { cleanAll } from "./images.ts";

/** Not the system's place for temporary files, which may be memory, and too little of it. */
const ON_DISK = "/var/tmp";
const IN_MEMORY = "/dev/shm";
const BASES = [ON_DISK, IN_MEMORY].filter((base) => existsSync(base));

/** The memory in bytes from which on a workspace may be in memory: images take some GiB, and guests 3 GiB each. */
const ENOUGH_MEMORY = 12 * 2 ** 30;

/** Disposing of it unmounts and removes all that is there. */
export interface Workspace extends Disposable {
  readonly directory: string;
}

export interface WorkspaceOptions {
  /** Where it is made, which must be there; else it is on disk, in the place for what is large. */
  readonly base?: string;
  /** In memory, where there is enough: what is synced waits for no disk. */
  readonly inMemory?: boolean;
}

/**
 * Makes a workspace, after those of the same prefix whose owners died were removed.
 *
 * @param prefix short, since tests make Unix sockets below, whose paths end at 107 bytes (unix(7))
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

/** Whether there is much memory that nobody uses, and a file system in it that may have it. */
function hasEnoughMemory(): boolean {
  if (!BASES.includes(IN_MEMORY)) return false;
  const { type, availableBytes } = statfs(IN_MEMORY);
  const bytes = Math.min(availableBytes, Deno.systemMemoryInfo().available);
  return type === TMPFS_MAGIC && bytes >= ENOUGH_MEMORY;
}

/** A run holds a lock in its directory as long as it lives. */
function removeAbandoned(directory: string): void {
  const lock = openLock(directory);
  if (tryLock(lock, "exclusive")) cleanAll(directory);
  close(lock);
}

const openLock = (directory: string) => open(join(directory, "lock"), O_RDWR | O_CREAT, 0o600);
