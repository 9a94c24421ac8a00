/**
 * Finds out whether this kernel's aufs has the option `dirperm1`, by a mount with it: aufs refuses
 * unknown options.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import type { Home } from "../../lib/store/home.ts";
import type { MountPort } from "../../lib/mount/plan.ts";
import { PROBE_MOUNT, withProbeDirectory } from "../union/probe_directory.ts";
import { ifRoom, isNoRoom } from "./room.ts";
import { xinoPath } from "./xino.ts";

/**
 * @param directory the directory for tables of inode numbers: see {@linkcode xinoPath}
 * @returns `undefined` if the home has no space for the test
 */
export function hasDirperm1(
  home: Home,
  port: MountPort,
  directory: string | undefined,
): boolean | undefined {
  return ifRoom(() => mountsWithDirperm1(home, port, directory));
}

function mountsWithDirperm1(
  home: Home,
  port: MountPort,
  directory: string | undefined,
): boolean {
  return withProbeDirectory(home, ["branch"], (_, path) => {
    const target = `${path}/${PROBE_MOUNT}`;
    const xino = xinoPath(directory, crypto.randomUUID());
    const data = `br:${path}/branch=rw,dirperm1${xino === undefined ? "" : `,xino=${xino}`}`;
    try {
      port.mount({ kind: "mount", source: "none", target, type: "aufs", flags: 0, data });
    } catch (error) {
      if (error instanceof SyscallError && !isNoRoom(error)) return false;
      throw error;
    }
    port.unmount(target, 0);
    return true;
  });
}
