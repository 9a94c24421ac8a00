/**
 * Finds out whether the driver can run at a path, for `veneer doctor`.
 *
 * @module
 */
import { lackingSettings } from "../../lib/base/kernel_config.ts";
import { EXT_MAGIC, type FileSystem, statfs, XFS_MAGIC } from "../../ffi/statfs.ts";
import { type Finding, missing } from "../definition.ts";
import type { VeneerError } from "../../lib/base/errors.ts";
import { hasFileSystem, inUserNamespace } from "../../lib/base/kernel.ts";
import { quotaLacking } from "./project_quota.ts";
import { moduleDefault, takesLowersOneByOne } from "./kernel.ts";
import { MAX_LOWERS, MAX_LOWERS_OLD } from "./mount_data.ts";
import { parseDriverOptions } from "./options.ts";
import { checkBacking, checkKernelVersion, checkOverlay, findEntryTypes } from "./support.ts";
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
    types(below, backing),
  ];
  if (hasFileSystem("overlay")) findings.push(depth(below), nativeDiff());
  findings.push(quota(below));
  return findings;
}

/** The finding about a requirement, from the problem with it, if there is one. */
function need(what: string, problem: VeneerError | undefined): Finding {
  return problem === undefined ? { state: "ok", what } : missing(problem);
}

function types(below: string, backing: FileSystem): Finding {
  const problem = findEntryTypes(below, backing);
  if (problem !== "unknown") {
    return need(`${backing.name} stores the types of directory entries`, problem);
  }
  return {
    state: "ok",
    what: `${backing.name} is empty: the first command tells if it stores the types of entries`,
  };
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
  return {
    state: "limited",
    what: `layers cannot have a size: ${lacking}`,
    remedy: quotaRemedy(statfs(below).type),
  };
}

/** The settings of a kernel with project quotas (`fs/quota/Kconfig`, `fs/xfs/Kconfig`). */
const EXT4_QUOTA = ["CONFIG_QUOTA", "CONFIG_QFMT_V2"], XFS_QUOTA = ["CONFIG_XFS_QUOTA"];

/**
 * The remedy for a file system without project quota, by its type. A kernel without quotas cannot
 * mount an ext4 with these features, so they are not advised then.
 *
 * @param lackingOf `lackingSettings`, which tests replace
 */
export function quotaRemedy(
  type: number,
  lackingOf: (settings: readonly string[]) => string[] | undefined = lackingSettings,
): string {
  const onXfs = lackingOf(XFS_QUOTA), onExt4 = lackingOf(EXT4_QUOTA);
  const without = (settings: readonly string[], where: string) =>
    `leave it so: this kernel was built without ${settings.join(" and ")}, and ${where}`;
  const unknown = (settings: readonly string[]) => `if the kernel has ${settings.join(" and ")}, `;
  if (type === XFS_MAGIC) {
    if (onXfs?.length) return without(onXfs, "would not mount it with -o pquota");
    return `${onXfs ? "" : unknown(XFS_QUOTA)}mount it with -o pquota`;
  }
  if (type === EXT_MAGIC) {
    if (onExt4?.length) return without(onExt4, "could not mount it with the feature quota");
    return `${onExt4 ? "" : unknown(EXT4_QUOTA)}` +
      "`tune2fs -O quota,project` it unmounted, and mount it with -o prjquota";
  }
  const places = [...onXfs?.length ? [] : ["xfs"], ...onExt4?.length ? [] : ["ext4"]];
  if (places.length > 0) return `put the store on ${places.join(" or ")}`;
  return without([...onXfs!, ...onExt4!], "has no project quotas on any file system");
}
