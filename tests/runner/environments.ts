/**
 * Where a test file runs: on which file systems, here or in a guest. A file says so itself, in a line of its own before
 * its first import; one that says nothing runs here on ext4.
 *
 *     // @runs on ext4, xfs, btrfs, guest ext4, guest xfs
 *
 * A guest has what this machine's kernel may lack: device-mapper, project quotas on ext4 and xfs, and the mount calls of
 * an older kernel. It is about four times slower, so a file names it only if a case means something else there.
 *
 * @module
 */
import type { ImageKind } from "./images.ts";
import type { Stage } from "./report.ts";

/** A kernel and the file system that cases work on. */
export interface Environment {
  readonly kernel: Stage["kernel"];
  readonly fs: ImageKind;
}

const ENVIRONMENTS: Readonly<Record<string, Environment>> = {
  "ext4": { kernel: "native", fs: "ext4" },
  "xfs": { kernel: "native", fs: "xfs" },
  "btrfs": { kernel: "native", fs: "btrfs" },
  "guest ext4": { kernel: "uml", fs: "ext4+prjquota" },
  "guest xfs": { kernel: "uml", fs: "xfs+pquota" },
};

/**
 * Reads where a test file runs from its text.
 *
 * @throws {Error} if it names an environment that does not exist
 */
export function environmentsOf(text: string, file: string): Environment[] {
  const line = text.match(/^\/\/ @runs on (.+)$/m);
  if (line === null) return [ENVIRONMENTS.ext4];
  return line[1].split(",").map((name) => {
    const environment = ENVIRONMENTS[name.trim()];
    if (environment === undefined) {
      throw new Error(`${file}: "${name.trim()}" is not one of ${Object.keys(ENVIRONMENTS)}`);
    }
    return environment;
  });
}
