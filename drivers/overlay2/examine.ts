/**
 * The findings of overlay2 at a place, for `veneer doctor`. Changes nothing.
 *
 * @module
 */
import { EXT_MAGIC, statfs, XFS_MAGIC } from "../../ffi/statfs.ts";
import { type Finding, missing } from "../definition.ts";
import type { VeneerError } from "../../lib/base/errors.ts";
import { hasFileSystem, inUserNamespace } from "../../lib/base/kernel.ts";
import { quotaLacking } from "./project_quota.ts";
import { moduleDefault, takesLowersOneByOne } from "./kernel.ts";
import { MAX_LOWERS, MAX_LOWERS_OLD } from "./mount_data.ts";
import { parseDriverOptions } from "./options.ts";
import { checkBacking, checkEntryTypes, checkKernelVersion, checkOverlay } from "./support.ts";
import { nearestExisting } from "../../lib/store/home.ts";

export function examine(root: string): Finding[] {
  const options = parseDriverOptions(new Map());
  const below = nearestExisting(root, "overlay2");
  const backing = statfs(below);
  const release = Deno.osRelease();
  const findings = [
    need("the kernel has overlay", checkOverlay()),
    need(`kernel ${release} is recent enough`, checkKernelVersion(release, options)),
    need(`${below} is on ${backing.name}`, checkBacking(below, backing, options)),
    need(`${backing.name} stores the types of directory entries`, checkEntryTypes(below, backing)),
  ];
  if (hasFileSystem("overlay")) findings.push(depth(below), nativeDiff());
  findings.push(quota(below));
  return findings;
}

/** A requirement. */
function need(what: string, problem: VeneerError | undefined): Finding {
  return problem === undefined ? { state: "ok", what } : missing(problem);
}

function depth(below: string): Finding {
  if (takesLowersOneByOne(below)) {
    return { state: "ok", what: `up to ${MAX_LOWERS} layers below another (lowerdir+)` };
  }
  return {
    state: "limited",
    what: `up to ${MAX_LOWERS_OLD} layers below another, without overlay's lowerdir+`,
    remedy: `Linux 6.7 and later mount ${MAX_LOWERS}`,
  };
}

function nativeDiff(): Finding {
  const on = ["redirect_dir", "metacopy"].filter((name) => moduleDefault(name) === "Y");
  if (inUserNamespace()) {
    return {
      state: "limited",
      what:
        "diffs compare whole trees: this is a user namespace, where overlay uses user. attributes",
      remedy: "run in the initial user namespace",
    };
  }
  if (on.length === 0) return { state: "ok", what: "diffs read the layer's own files alone" };
  return {
    state: "limited",
    what: `diffs compare whole trees: overlay's ${on.join(" and ")} is on`,
    remedy: on.map((name) => `echo N > /sys/module/overlay/parameters/${name}`).join(" and "),
  };
}

function quota(below: string): Finding {
  const lacking = quotaLacking(below);
  if (lacking === undefined) return { state: "ok", what: "layers can have a size (project quota)" };
  const { type } = statfs(below);
  return {
    state: "limited",
    what: `layers cannot have a size: ${lacking}`,
    remedy: type === XFS_MAGIC
      ? "mount it with -o pquota"
      : type === EXT_MAGIC
      ? "`tune2fs -O quota,project` it unmounted, and mount it with -o prjquota"
      : "put the store on xfs or ext4",
  };
}
