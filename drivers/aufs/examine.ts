/**
 * Finds out whether the driver can run at a path, for `veneer doctor`. Changes nothing, and loads
 * no module.
 *
 * @module
 */
import { statfs } from "../../ffi/statfs.ts";
import type { Finding } from "../definition.ts";
import { nearestExisting } from "../../lib/store/home.ts";
import { hasModule, inUserNamespace, isListed } from "../../lib/base/kernel.ts";
import { branchLimit, LEAST_LIMIT } from "./branch_limit.ts";
import { checkBacking, notInUserNamespace, WITHOUT_MOUNT } from "./support.ts";
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
  const isLoaded = isListed("aufs");
  const [lacking] = inUserNamespace()
    ? notInUserNamespace().message.split("; ")
    : isLoaded || hasModule("aufs")
    ? []
    : ["the kernel has no aufs file system, and no module of it"];
  if (lacking !== undefined) {
    return {
      state: "missing",
      what: lacking,
      remedy: `in a store that exists, ${WITHOUT_MOUNT}`,
    };
  }
  const what = isLoaded ? "the kernel has aufs" : "aufs is a module, which the first mount loads";
  return { state: "ok", what };
}

function depth(): Finding {
  const limit = branchLimit();
  return limit === undefined
    ? {
      state: "ok",
      what: `up to ${LEAST_LIMIT - 1} layers below another, unless aufs is built for more`,
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
