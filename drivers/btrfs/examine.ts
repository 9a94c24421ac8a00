/**
 * Finds out whether the driver can run at a path, for `veneer doctor`. Changes nothing.
 *
 * @module
 */
import { BTRFS_MAGIC, statfs } from "../../ffi/statfs.ts";
import { quotaStatus } from "../../ffi/btrfs_quota.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import type { Finding } from "../definition.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { nearestExisting } from "../../lib/store/home.ts";

/**
 * @param root the directory of `btrfs/`, which may not exist yet
 * @throws {VeneerError} `incompatible` if the directory is not on btrfs
 */
export function requireBtrfs(root: string): void {
  const below = nearestExisting(root, "btrfs");
  const { type, name } = statfs(below);
  if (type === BTRFS_MAGIC) return;
  throw new VeneerError(
    "incompatible",
    `prerequisite: the btrfs driver needs btrfs, and ${below} is on ${name}; put the store on btrfs or use another driver`,
  );
}

export function examine(root: string): Finding[] {
  const below = nearestExisting(root, "btrfs");
  const { type, name } = statfs(below);
  const what = `${below} is on ${name}`;
  if (type !== BTRFS_MAGIC) {
    return [{ state: "missing", what, remedy: "put the store on btrfs" }];
  }
  if (Deno.uid() !== 0) {
    return [
      { state: "ok", what },
      { state: "missing", what: "subvolumes are removed by root alone", remedy: "run as root" },
    ];
  }
  return [
    { state: "ok", what },
    { state: "ok", what: "diffs read the changes alone (send)" },
    quota(below),
  ];
}

function quota(below: string): Finding {
  const { mode } = withFd(open(below, O_RDONLY | O_DIRECTORY), quotaStatus);
  switch (mode) {
    case "off":
      return { state: "ok", what: "layers can have a size; quotas are off until one has" };
    case "qgroup":
      return { state: "ok", what: "layers can have a size (qgroups are on)" };
    case "simple":
      return {
        state: "limited",
        what:
          "layers can have a size, but simple quotas are on: limits do not count inherited data",
        remedy: "`btrfs quota disable` and `btrfs quota enable` it, if nothing else needs them",
      };
  }
}
