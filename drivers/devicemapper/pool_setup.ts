/**
 * Brings a store's pool up, or checks that the existing pool is this store's.
 *
 * ```text
 * <home>/devicemapper/data       sparse images, if no devices are given
 * <home>/devicemapper/metadata
 * ```
 *
 * @module
 */
import { sizeOfBlockDevice } from "../../ffi/block.ts";
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { ENOENT, ENOTTY, SyscallError } from "../../ffi/errno.ts";
import { O_NONBLOCK, O_RDONLY, open as openNode, pread, withFd } from "../../ffi/files.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { fstatfs } from "../../ffi/statfs.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import {
  type ConfinedPath,
  exists,
  open,
  tryLstat as lstatImage,
} from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";
import {
  attachImage,
  type Backing,
  ensureImage,
  isAttachedTo,
  loopNumber,
  refreshCapacity,
} from "./loopback.ts";
import { DEFAULTS, type DeviceMapperOptions } from "./options.ts";
import type { Warn } from "../../lib/base/warn.ts";
import type { Pool } from "./pool.ts";
import { dataBlockSize } from "./thin_metadata.ts";
import { makedev } from "../../ffi/names.ts";

/** The settings for bringing a pool up. */
export interface PoolContext {
  readonly pool: Pool;
  readonly home: Home;
  readonly options: DeviceMapperOptions;
  /** Whether any device is recorded: then a missing image is an error. */
  readonly hasRecords: boolean;
  readonly warn: Warn;
}

/** The paths of the images, which exist only if no devices are given. */
export const dataImage = (home: Home) => home.join("devicemapper", "data");
export const metadataImage = (home: Home) => home.join("devicemapper", "metadata");

/**
 * Brings the pool up, unless it exists.
 *
 * @throws {VeneerError} `incompatible` if the pool of this name has other devices, `not supported`
 * if a pool named in options does not exist, `corrupt store` if an image is missing
 */
export function setUpPool(context: PoolContext): void {
  const { pool, options } = context;
  if (pool.exists()) {
    if (options.thinPool === undefined) useExisting(context);
    else pool.table(); // throws if the device is not a pool
  } else if (options.thinPool !== undefined) {
    throw new VeneerError(
      "not supported",
      `dm.thinpooldev ${options.thinPool}: there is no such device; make the pool, or activate its volume group`,
    );
  } else {
    bringUp(context);
  }
}

function bringUp(context: PoolContext): void {
  const { pool, home, options, warn } = context;
  for (const device of [options.metadataDevice, options.dataDevice]) {
    if (device !== undefined) checkBlockDevice(device);
  }
  checkImages(context);
  using metadata = backing(
    options.metadataDevice,
    metadataImage(home),
    options.metadataSize,
    DEFAULTS.metadataSize,
    warn,
  );
  using data = backing(
    options.dataDevice,
    dataImage(home),
    options.dataSize,
    DEFAULTS.dataSize,
    warn,
  );
  const recorded = recordedBlockSize(metadata.path);
  const blockSize = recorded ?? options.blockSize;
  if (recorded !== undefined && options.blockSizeGiven && recorded !== options.blockSize) {
    warn(`the pool has a block size of ${recorded} bytes; dm.blocksize is for new pools`);
  }
  pool.create(sizeOfBlockDevice(data.path), {
    metadata: metadata.path,
    data: data.path,
    blockSize: blockSize / SECTOR_SIZE,
    whenFull: options.whenFull,
  });
}

/** Opens a given device, or an image. */
function backing(
  device: string | undefined,
  image: ConfinedPath,
  size: number | undefined,
  defaultSize: number,
  warn: Warn,
): Backing {
  if (device !== undefined) {
    return { path: device, image: undefined, [Symbol.dispose]: () => {} };
  }
  const isNew = !exists(image);
  ensureImage(image, size ?? (isNew ? defaultSize : 0), size === undefined ? () => {} : warn);
  return attachImage(image);
}

function checkBlockDevice(path: string): void {
  try {
    sizeOfBlockDevice(path);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.errno !== ENOTTY && error.errno !== ENOENT) throw error;
    const reason = error.errno === ENOENT ? "it does not exist" : "it is not a block device";
    throw new VeneerError("invalid argument", `device ${path}: ${reason}`);
  }
}

/** Refuses to make a new image if devices are recorded: a pool needs both of its images. */
function checkImages({ home, options, hasRecords }: PoolContext): void {
  const isLost = (device: string | undefined, image: ConfinedPath) =>
    device === undefined && !exists(image);
  const lost = isLost(options.metadataDevice, metadataImage(home))
    ? metadataImage(home)
    : isLost(options.dataDevice, dataImage(home))
    ? dataImage(home)
    : undefined;
  if (lost === undefined || !hasRecords) return;
  throw new VeneerError(
    "corrupt store",
    `${lost} is missing, and devices are recorded in ${
      home.join("metadata")
    }; restore it from a copy, ` +
      `or remove ${home.path} to start again`,
  );
}

/**
 * The block size recorded in a pool's metadata, in bytes; `undefined` if the device does not have a
 * pool's metadata.
 */
function recordedBlockSize(device: string): number | undefined {
  const bytes = new Uint8Array(SECTOR_SIZE);
  withFd(openNode(device, O_RDONLY), (fd) => pread(fd, bytes, bytes.length, 0n));
  const sectors = dataBlockSize(new DataView(bytes.buffer));
  return sectors && sectors * SECTOR_SIZE;
}

/** Checks that the existing pool is this store's, and grows its images if options ask for that. */
function useExisting({ pool, home, options, warn }: PoolContext): void {
  const table = pool.table();
  const metadata = checkOurs(pool, table.metadata, options.metadataDevice, metadataImage(home));
  const data = checkOurs(pool, table.data, options.dataDevice, dataImage(home));
  const grow = (
    loop: number | undefined,
    image: ConfinedPath,
    size: number | undefined,
  ): boolean => {
    if (loop === undefined || size === undefined) return false;
    if (size <= (lstatImage(image)?.size ?? 0)) return false;
    ensureImage(image, size, warn);
    refreshCapacity(loop);
    return true;
  };
  const grown = [
    grow(metadata, metadataImage(home), options.metadataSize),
    grow(data, dataImage(home), options.dataSize),
  ];
  if (!grown.includes(true)) return;
  const size = data === undefined ? table.size : sizeOfBlockDevice(`/dev/loop${data}`);
  pool.resize(size, table);
}

/**
 * Requires that a pool's device is the given one or the image's loop device. Returns the number of
 * the loop device.
 *
 * @param numbers `major:minor`
 */
function checkOurs(
  pool: Pool,
  numbers: string,
  device: string | undefined,
  image: ConfinedPath,
): number | undefined {
  const [major, minor] = numbers.split(":").map(Number);
  const loop = device === undefined ? loopNumber(makedev(major, minor)) : undefined;
  const isOurs = device === undefined
    ? loop !== undefined && isAttachedTo(loop, image)
    : isNode(device, major, minor);
  if (isOurs) return loop;
  throw new VeneerError(
    "incompatible",
    `pool ${pool.name} is made of device ${numbers}, not of ${device ?? image}; ` +
      `run with the options it was made with, or remove it: dmsetup remove ${pool.name}`,
  );
}

function isNode(path: string, major: number, minor: number): boolean {
  const stat = tryLstat(Deno.realPathSync(path));
  return stat?.rdevMajor === major && stat.rdevMinor === minor;
}

/** The space by which an image can still grow on its file system, in bytes. */
export const availableBytes = (image: ConfinedPath): number =>
  withFd(open(image, O_RDONLY | O_NONBLOCK), fstatfs).availableBytes;
