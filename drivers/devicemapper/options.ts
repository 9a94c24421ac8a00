/**
 * The options of the driver and of its layers, under Docker's names.
 *
 * | option | meaning |
 * | --- | --- |
 * | `dm.basesize` | size of the base device and of layers that name none; an existing base grows |
 * | `dm.fs` | `ext4` or `xfs`, for a base that is to be made |
 * | `dm.mkfsarg` | more arguments of mkfs, separated by spaces |
 * | `dm.mountopt` | more options of every mount |
 * | `dm.loopdatasize`, `dm.loopmetadatasize` | sizes of the pool's images, which never shrink |
 * | `dm.datadev`, `dm.metadatadev` | block devices in place of the images |
 * | `dm.thinpooldev` | a thin pool in place of one made here |
 * | `dm.blocksize` | the unit in which the pool hands out space |
 * | `dm.blkdiscard` | give a removed layer's space back to the images |
 * | `dm.override_udev_sync_check` | run even if udev runs and libdevmapper cannot wait for it |
 * | `dm.use_deferred_removal` | deactivate a busy device when its last user closes it; on if supported |
 * | `dm.use_deferred_deletion` | delete a busy layer's device after its last use; on with the former |
 * | `dm.min_free_space` | how much of data and metadata must be free for a layer to be made |
 * | `dm.xfs_nospace_max_retries` | how often xfs retries a write for which there is no space |
 * | `dm.libdm_log_level` | how much of libdevmapper's log is passed on: 2 (fatal) to 7 (debug) |
 * | `dm.when_full` | a full pool's writes wait (`queue`) or fail (`error`); Veneer's own option |
 *
 * Docker's other options, `dm.directlvm_device` and those that belong to it, are refused with the
 * reason.
 *
 * @module
 */
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { LayerSpec } from "../../lib/graph/backend.ts";
import { checkKnown, parseBoolean } from "../../lib/base/options.ts";
import { formatSize, parseSize } from "../../lib/base/sizes.ts";
import { DIRECT_LVM_KEYS, OPTION_KEYS } from "./option_keys.ts";

/** The file systems that a base device can have. */
export type BaseFileSystem = "ext4" | "xfs";
const BASE_FILE_SYSTEMS: readonly BaseFileSystem[] = ["ext4", "xfs"];

/** The driver's parsed options. Sizes are in bytes. */
export interface DeviceMapperOptions {
  readonly baseSize: number;
  /** Whether the size was given, so that a smaller base is grown. */
  readonly growBase: boolean;
  readonly fileSystem: BaseFileSystem;
  /** Whether it was given, so that there is a warning if the base has another one. */
  readonly fileSystemGiven: boolean;
  readonly mkfsArguments: readonly string[];
  readonly mountOptions: string;
  /**
   * The size of an image; `undefined` if it was not given. Then a new image gets the default, 100
   * GiB or 2 GiB, and an existing one does not grow.
   */
  readonly dataSize: number | undefined;
  readonly metadataSize: number | undefined;
  readonly dataDevice: string | undefined;
  readonly metadataDevice: string | undefined;
  /** The name of a pool, without its directory. */
  readonly thinPool: string | undefined;
  readonly blockSize: number;
  readonly blockSizeGiven: boolean;
  readonly discard: boolean;
  readonly overrideUdevSyncCheck: boolean;
  readonly deferredRemoval: boolean;
  /** Never true without `deferredRemoval`. */
  readonly deferredDeletion: boolean;
  /** A share, 0 to 0.99. */
  readonly minFreeSpace: number;
  readonly xfsNoSpaceRetries: number | undefined;
  readonly logLevel: number;
  readonly whenFull: "queue" | "error";
}

type Deferral = "deferredRemoval" | "deferredDeletion";

/**
 * The requested options. If one is `undefined`, the machine's features decide (`decideDeferral` of
 * `support.ts`).
 */
export type RequestedOptions =
  & Omit<DeviceMapperOptions, Deferral>
  & { readonly [key in Deferral]: boolean | undefined };

/** Docker's defaults. */
export const DEFAULTS = {
  baseSize: 10 * 2 ** 30,
  dataSize: 100 * 2 ** 30,
  metadataSize: 2 * 2 ** 30,
  blockSize: "64K",
  minFreeSpace: "10%",
} as const;

/**
 * Limits of a pool's block size: Linux,
 * Documentation/admin-guide/device-mapper/thin-provisioning.rst.
 */
const MIN_BLOCK_SIZE = 64 << 10, MAX_BLOCK_SIZE = 1 << 30;

/**
 * @throws {VeneerError} `invalid argument` with the option and its rule, `not supported` for the
 * options of LVM
 */
export function parseDriverOptions(options: ReadonlyMap<string, string>): RequestedOptions {
  checkKnown(options, OPTION_KEYS, "devicemapper");
  refuseDirectLvm(options);
  const flag = (key: string, otherwise = "false") =>
    parseBoolean(options.get(key) ?? otherwise, key);
  const optionalFlag = (key: string) => options.has(key) ? flag(key) : undefined;
  const optionalSize = (key: string) => {
    const text = options.get(key);
    return text === undefined ? undefined : positive(text, key);
  };
  const path = (key: string) => absolute(options.get(key), key);
  const [dataDevice, metadataDevice] = [path("dm.datadev"), path("dm.metadatadev")];
  const thinPool = options.get("dm.thinpooldev")?.replace(/^\/dev\/mapper\//, "") || undefined;
  if (thinPool !== undefined && (dataDevice ?? metadataDevice) !== undefined) {
    throw invalid("dm.thinpooldev", thinPool, "a pool has its devices; leave dm.datadev out");
  }
  const deferredRemoval = optionalFlag("dm.use_deferred_removal");
  const deferredDeletion = optionalFlag("dm.use_deferred_deletion");
  if (deferredDeletion && deferredRemoval === false) {
    throw invalid("dm.use_deferred_deletion", "true", "it needs dm.use_deferred_removal=true");
  }
  const onImages = thinPool === undefined && dataDevice === undefined;
  return {
    baseSize: wholeSectors(optionalSize("dm.basesize") ?? DEFAULTS.baseSize),
    growBase: options.has("dm.basesize"),
    fileSystem: choice("dm.fs", options.get("dm.fs") ?? "ext4", BASE_FILE_SYSTEMS),
    fileSystemGiven: options.has("dm.fs"),
    mkfsArguments: (options.get("dm.mkfsarg") ?? "").split(/\s+/).filter(Boolean),
    mountOptions: checkMountOptions(options.get("dm.mountopt") ?? ""),
    dataSize: optionalSize("dm.loopdatasize"),
    metadataSize: optionalSize("dm.loopmetadatasize"),
    dataDevice,
    metadataDevice,
    thinPool,
    blockSize: parseBlockSize(options.get("dm.blocksize") ?? DEFAULTS.blockSize),
    blockSizeGiven: options.has("dm.blocksize"),
    discard: flag("dm.blkdiscard", String(onImages)),
    overrideUdevSyncCheck: flag("dm.override_udev_sync_check"),
    deferredRemoval,
    deferredDeletion,
    minFreeSpace: parseShare(options.get("dm.min_free_space") ?? DEFAULTS.minFreeSpace),
    xfsNoSpaceRetries: parseRetries(options.get("dm.xfs_nospace_max_retries")),
    logLevel: parseLogLevel(options.get("dm.libdm_log_level") ?? "2"),
    whenFull: choice("dm.when_full", options.get("dm.when_full") ?? "queue", ["queue", "error"]),
  };
}

/**
 * The size that a layer's options give it, in bytes; `undefined` for its parent's size.
 *
 * @throws {VeneerError} `invalid argument` for an unknown key, a bad value, or a size on a layer
 * that is not read-write
 */
export function parseLayerSize({ storageOptions, readWrite }: LayerSpec): number | undefined {
  checkKnown(storageOptions, ["size"], "a devicemapper layer");
  const size = storageOptions.get("size");
  if (size === undefined) return undefined;
  if (!readWrite) {
    throw new VeneerError(
      "invalid argument",
      "storage option size: only read-write layers have a size of their own",
      { remedy: { kind: "create read-write" } },
    );
  }
  return wholeSectors(positive(size, "size"));
}

/** @throws {VeneerError} `invalid argument` if a size is less than that of the device's origin */
export function checkNotSmaller(size: number, least: number, what: string): void {
  if (size >= least) return;
  throw new VeneerError(
    "invalid argument",
    `${what} ${formatSize(size)}: it must be at least ${
      formatSize(least)
    }, the size of the device that it starts from`,
  );
}

function refuseDirectLvm(options: ReadonlyMap<string, string>): void {
  const key = DIRECT_LVM_KEYS.find((name) => options.has(name));
  if (key === undefined) return;
  throw new VeneerError(
    "not supported",
    `${key}: Veneer does not partition disks with LVM; make a thin pool with \`lvcreate --type thin-pool\` ` +
      "and name it with dm.thinpooldev",
  );
}

function positive(text: string, name: string): number {
  const bytes = parseSize(text, name);
  if (bytes > 0) return bytes;
  throw invalid(name, text, "it must be above 0");
}

/** Rounds up to whole sectors, of which devices consist. */
const wholeSectors = (bytes: number): number => Math.ceil(bytes / SECTOR_SIZE) * SECTOR_SIZE;

function absolute(path: string | undefined, name: string): string | undefined {
  if (path === undefined || path === "") return undefined;
  if (path.startsWith("/")) return path;
  throw invalid(name, path, "it must be the absolute path of a block device");
}

function choice<T extends string>(name: string, text: string, among: readonly T[]): T {
  const chosen = among.find((one) => one === text.toLowerCase());
  if (chosen !== undefined) return chosen;
  throw invalid(name, text, `it must be ${among.join(" or ")}`);
}

function parseBlockSize(text: string): number {
  const bytes = parseSize(text, "dm.blocksize");
  if (bytes >= MIN_BLOCK_SIZE && bytes <= MAX_BLOCK_SIZE && bytes % MIN_BLOCK_SIZE === 0) {
    return bytes;
  }
  throw invalid("dm.blocksize", text, "it must be a multiple of 64K, from 64K to 1G");
}

function parseShare(text: string): number {
  const percent = /^(\d{1,2})%$/.exec(text)?.[1];
  if (percent !== undefined) return Number(percent) / 100;
  throw invalid("dm.min_free_space", text, "it must be a percentage from 0% to 99%");
}

function parseRetries(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw invalid("dm.xfs_nospace_max_retries", text, "it must be a number of retries, 0 or more");
}

function parseLogLevel(text: string): number {
  if (/^[2-7]$/.test(text)) return Number(text);
  throw invalid("dm.libdm_log_level", text, "it must be a level from 2 (fatal) to 7 (debug)");
}

function checkMountOptions(text: string): string {
  // deno-lint-ignore no-control-regex
  if (!/[\u0000-\u001f\u007f]/.test(text)) return text;
  throw invalid("dm.mountopt", text, "it must have no control character");
}

function invalid(name: string, value: string, rule: string): VeneerError {
  return new VeneerError("invalid argument", `${name} ${JSON.stringify(value)}: ${rule}`);
}
