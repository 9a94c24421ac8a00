/**
 * The facts that overlay2 finds when a home is opened, and uses for mounts.
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

/** The facts found when the driver was opened. */
export interface Overlay2Environment {
  readonly options: Overlay2Options;
  /** The mount calls that layers are mounted by. */
  readonly api: "new" | "old";
  /** Options that every mount gets on this kernel, such as `index=off`. */
  readonly features: readonly string[];
  /** The name of the file system below the home. */
  readonly backing: string;
}

/**
 * Whether opaque marks are `user.` attributes here, which the tar engine neither writes nor reads.
 */
export function hasUserXattrs({ features }: Overlay2Environment): boolean {
  return features.includes("userxattr");
}

/**
 * Opens the home of layers or of snapshots.
 *
 * @param store its path below the root
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

/** The lines of `status`, with those that were `probed` if Docker has them. */
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
