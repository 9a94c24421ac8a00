/**
 * The options of the driver and of its layers.
 *
 * | option | meaning |
 * | --- | --- |
 * | `overlay2.override_kernel_check` | run on a kernel older than overlay2 is known to work on |
 * | `overlay2.size`, `overlay2.inodes` | limits of every read-write layer that names none |
 * | `overlay2.allow_btrfs` | allow btrfs, for which the btrfs driver is the better choice |
 * | `overlay2.mount_api` | `auto`, `new` (`lowerdir+`) or `old` (`mount(2)`, a page of options) |
 * | `overlay2.mountopt` | overlay's own options for every mount, such as `index=on`, by commas |
 * | `overlay2.upperdir_label` | publish the directory of a snapshot's changes as a label |
 * | a layer's `size`, `inodes` | its limits, by project quota; read-write layers only |
 *
 * @module
 */
import { VeneerError } from "../../lib/base/errors.ts";
import type { LayerSpec } from "../../lib/graph/backend.ts";
import { checkKnown, parseBoolean } from "../../lib/base/options.ts";
import { parseCount, parseSize } from "../../lib/base/sizes.ts";
import type { ProjectLimits } from "../../ffi/quota.ts";
import { OPTION_KEYS } from "./option_keys.ts";

/** The values of `overlay2.mount_api`. */
export type MountApi = "auto" | "new" | "old";
const MOUNT_APIS: readonly MountApi[] = ["auto", "new", "old"];

/** The driver's parsed options. */
export interface Overlay2Options {
  readonly overrideKernelCheck: boolean;
  readonly allowBtrfs: boolean;
  readonly mountApi: MountApi;
  /** Options of overlay itself, for every mount. */
  readonly mountOptions: readonly string[];
  /** Whether snapshots have a label with the directory of their changes. */
  readonly upperdirLabel: boolean;
  /** The limits of read-write layers whose options contain none; 0 for no limit. */
  readonly limits: ProjectLimits;
}

/**
 * The options that `overlay2.mountopt` may contain: those in the kernel's
 * `Documentation/filesystems/overlayfs.rst` that do not change the format of layers. `volatile` is
 * given for each mount.
 */
const MOUNT_OPTIONS = [
  "index",
  "metacopy",
  "nfs_export",
  "redirect_dir",
  "userxattr",
  "uuid",
  "xino",
];

/** @throws {VeneerError} `invalid argument` with the option and its rule */
export function parseDriverOptions(options: ReadonlyMap<string, string>): Overlay2Options {
  checkKnown(options, OPTION_KEYS, "overlay2");
  const flag = (key: string) => parseBoolean(options.get(key) ?? "false", key);
  return {
    overrideKernelCheck: flag("overlay2.override_kernel_check"),
    allowBtrfs: flag("overlay2.allow_btrfs"),
    mountApi: parseMountApi(options.get("overlay2.mount_api") ?? "auto"),
    mountOptions: parseMountOptions(options.get("overlay2.mountopt") ?? ""),
    upperdirLabel: flag("overlay2.upperdir_label"),
    limits: {
      bytes: parseSize(options.get("overlay2.size") ?? "0", "overlay2.size"),
      inodes: parseCount(options.get("overlay2.inodes") ?? "0", "overlay2.inodes"),
    },
  };
}

/**
 * The limits of a new layer.
 *
 * @param defaults the limits of a read-write layer whose options contain none
 * @throws {VeneerError} `invalid argument` for an unknown key, a bad value, or a limit on a layer
 * that is not read-write
 */
export function parseLayerLimits(
  { storageOptions, readWrite }: LayerSpec,
  defaults: ProjectLimits,
): ProjectLimits {
  checkKnown(storageOptions, ["size", "inodes"], "an overlay2 layer");
  const [key] = storageOptions.keys();
  if (key !== undefined && !readWrite) {
    throw new VeneerError(
      "invalid argument",
      `storage option ${key}: only read-write layers have limits`,
      { remedy: { kind: "create read-write" } },
    );
  }
  if (!readWrite) return { bytes: 0, inodes: 0 };
  const size = storageOptions.get("size"), inodes = storageOptions.get("inodes");
  return {
    bytes: size === undefined ? defaults.bytes : parseSize(size),
    inodes: inodes === undefined ? defaults.inodes : parseCount(inodes, "inodes"),
  };
}

function parseMountApi(text: string): MountApi {
  const api = MOUNT_APIS.find((name) => name === text.toLowerCase());
  if (api !== undefined) return api;
  throw new VeneerError(
    "invalid argument",
    `overlay2.mount_api ${JSON.stringify(text)}: it must be one of ${MOUNT_APIS.join(", ")}`,
  );
}

function parseMountOptions(text: string): string[] {
  const options = text.split(",").filter((option) => option !== "");
  for (const option of options) {
    if (/^\w+(=\w+)?$/.test(option) && MOUNT_OPTIONS.includes(option.split("=")[0])) continue;
    throw new VeneerError(
      "invalid argument",
      `overlay2.mountopt ${JSON.stringify(option)}: it must be one or more of ${
        MOUNT_OPTIONS.join(", ")
      }, with =VALUE if overlay requires one`,
    );
  }
  return options;
}
