/**
 * The findings of aufs at a place, for `veneer doctor`. Changes nothing.
 *
 * @module
 */
import { statfs } from "../../ffi/statfs.ts";
import type { Finding } from "../definition.ts";
import { nearestExisting } from "../../lib/store/home.ts";
import { branchLimit, checkAufs, checkBacking, WITHOUT_MOUNT } from "./support.ts";
import { isRunInMemory } from "./xino.ts";

export function examine(root: string): Finding[] {
  const below = nearestExisting(root, "aufs");
  const backing = statfs(below);
  const findings: Finding[] = [kernel()];
  const incompatible = checkBacking(below, backing);
  findings.push(
    incompatible === undefined
      ? { state: "ok", what: `${below} is on ${backing.name}` }
      : { state: "missing", what: `aufs cannot stand on ${backing.name}`, remedy: "use ext4, xfs" },
  );
  if (findings.every(({ state }) => state === "ok")) findings.push(depth(), tables());
  return findings;
}

function kernel(): Finding {
  const problem = checkAufs();
  if (problem === undefined) return { state: "ok", what: "the kernel has aufs" };
  const [what] = problem.message.split("; ");
  return { state: "missing", what, remedy: `in a store that exists, ${WITHOUT_MOUNT}` };
}

function depth(): Finding {
  const limit = branchLimit();
  return limit === undefined
    ? {
      state: "ok",
      what: "aufs does not report how many layers it mounts; usually 126 below another",
    }
    : { state: "ok", what: `up to ${limit - 1} layers below another` };
}

function tables(): Finding {
  return isRunInMemory()
    ? { state: "ok", what: "tables of inode numbers are in /run, in memory" }
    : {
      state: "limited",
      what: "tables of inode numbers are in the layers' file system",
      remedy: "mount a tmpfs at /run",
    };
}
