/**
 * The environments of a test file: file systems, on this machine or in a guest. A file names them
 * in a line before its first import; without such a line it runs on this machine on ext4.
 *
 *     // @runs on ext4, xfs, btrfs, guest ext4, guest xfs
 *
 * A guest has features that may be missing in this machine's kernel: device-mapper, project quotas
 * on ext4 and xfs, and the mount calls of an older kernel. It is about four times slower, so a file
 * names it only if a case tests something different there.
 *
 * @module
 */
import type { ImageKind } from "./images.ts";
import type { Stage } from "./report.ts";

/** A kernel, and the file system on which cases work. */
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
 * Reads the environments of a test file from its text.
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
