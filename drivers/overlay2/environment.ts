/**
 * The facts about the machine that the driver collects when it opens a home, and uses for mounts.
 *
 * @module
 */
import { statfs } from "../../ffi/statfs.ts";
import type { DriverContext } from "../definition.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import { Home, nearestExisting } from "../../lib/store/home.ts";
import { mountFeatures, takesLowersOneByOne } from "./kernel.ts";
import { type Overlay2Options, parseDriverOptions } from "./options.ts";
import { checkBacking, checkEntryTypes, checkKernelVersion, checkOverlay } from "./support.ts";

/** The facts of one home. */
export interface Overlay2Environment {
  readonly options: Overlay2Options;
  /** The mount calls with which layers are mounted. */
  readonly api: "new" | "old";
  /** The options of every mount on this kernel, such as `index=off`. */
  readonly features: readonly string[];
  /** The name of the file system below the home. */
  readonly backing: string;
}

/**
 * Whether opaque marks are `user.` attributes on this machine. The tar engine neither writes nor
 * reads those.
 */
export function hasUserXattrs({ features }: Overlay2Environment): boolean {
  return features.includes("userxattr");
}

/**
 * Opens the home of layers or of snapshots.
 *
 * @param store its path, relative to the root
 * @throws {VeneerError} `not supported`, `incompatible`, `invalid argument`
 */
export function openHome(
  { root, options: texts, idMaps, warn }: DriverContext,
  store: string,
): { home: Home; environment: Overlay2Environment } {
  const options = parseDriverOptions(texts);
  const below = nearestExisting(root, store);
  const backing = statfs(below);
  const problem = checkOverlay() ?? checkKernelVersion(Deno.osRelease(), options) ??
    checkBacking(below, backing, options) ?? checkEntryTypes(below, backing);
  if (problem !== undefined) throw problem;

  const home = Home.open(root, store, idMaps, { warn });
  const environment = {
    options,
    api: chooseApi(home, options),
    features: mountFeatures(options.mountOptions),
    backing: backing.name,
  };
  return { home, environment };
}

function chooseApi(home: Home, { mountApi }: Overlay2Options): "new" | "old" {
  if (mountApi === "old") return "old";
  if (takesLowersOneByOne(home.path)) return "new";
  if (mountApi === "auto") return "old";
  throw new VeneerError(
    "not supported",
    `kernel ${Deno.osRelease()} does not support overlay's lowerdir+, which is in Linux 6.7 and later; ` +
      "leave the option overlay2.mount_api out",
  );
}

/** The lines of `status`, with further lines from a probe. */
export function statusOf(
  { backing, api, features }: Overlay2Environment,
  probed: readonly StatusLine[] = [],
): StatusLine[] {
  return [
    ["Backing Filesystem", backing],
    ["Supports d_type", "true"],
    ...probed,
    ["userxattr", String(features.includes("userxattr"))],
    ["Mount API", api === "new" ? "new (lowerdir+)" : "old (mount)"],
  ];
}
