/**
 * A directory for images, for the time of one run: what a killed run left of its own is removed by the next.
 */
import { join } from "@std/path";
import { close, O_CREAT, O_RDWR, open } from "../ffi/files.ts";
import { tryLock } from "../ffi/flock.ts";
import { cleanAll } from "./images.ts";

/** Not the system's place for temporary files, which may be memory. */
const BASE = "/var/tmp";

/** Disposing of it unmounts and removes all that is there. */
export interface Workspace extends Disposable {
  readonly directory: string;
}

/**
 * Makes a workspace, after those of the same prefix whose owners died were removed.
 *
 * @param prefix short, since tests make Unix sockets below, whose paths end at 107 bytes (unix(7))
 */
export function openWorkspace(prefix: string): Workspace {
  for (const { name } of Deno.readDirSync(BASE)) {
    if (name.startsWith(prefix)) removeAbandoned(join(BASE, name));
  }
  const directory = Deno.makeTempDirSync({ dir: BASE, prefix });
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

/** A run holds a lock in its directory as long as it lives. */
function removeAbandoned(directory: string): void {
  const lock = openLock(directory);
  if (tryLock(lock, "exclusive")) cleanAll(directory);
  close(lock);
}

const openLock = (directory: string) => open(join(directory, "lock"), O_RDWR | O_CREAT, 0o600);
