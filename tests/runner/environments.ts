/**
 * The environments of a test file: file systems, on this machine or in a guest. A file names them
 * in a line before its first import; without such a line it runs on this machine on ext4. A second
 * line names those of the long run (`make test-long`): where its cases hardly differ from others'.
 *
 *     // @runs on ext4, btrfs, guest ext4
 *     // @runs long on xfs, guest xfs
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
 * @param isLong whether those of the long run are among them
 * @throws {Error} if it names an environment that does not exist
 */
export function environmentsOf(text: string, file: string, isLong: boolean): Environment[] {
  const named = (words: string) => {
    const line = text.match(new RegExp(`^// @${words} (.+)$`, "m"));
    return line?.[1].split(",").map((name) => environment(name.trim(), file));
  };
  const usual = named("runs on") ?? [ENVIRONMENTS.ext4], long = named("runs long on") ?? [];
  return isLong ? [...usual, ...long] : usual;
}

function environment(name: string, file: string): Environment {
  const environment = ENVIRONMENTS[name];
  if (environment !== undefined) return environment;
  throw new Error(`${file}: "${name}" is not one of ${Object.keys(ENVIRONMENTS)}`);
}
