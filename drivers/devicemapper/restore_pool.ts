/**
 * Puts a pool's metadata, made from a dump, in the place of the present one: of the image in the
 * home, or on the device that the options name. The present one is kept in the quarantine.
 *
 * The metadata is first made in a new file, so that a dump that is not one changes nothing. An image
 * is exchanged by one rename. A device is written to in place, the superblock last: after a kill
 * before that it has none, which a check reports, and the next restoration begins again.
 *
 * @module
 */
import { blockDeviceSize } from "../../ffi/block.ts";
import { EBUSY, SyscallError } from "../../ffi/errno.ts";
import {
  fsync,
  ftruncate,
  O_CREAT,
  O_EXCL,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  open as openNode,
  pread,
  pwriteAll,
  withFd,
} from "../../ffi/files.ts";
import { S_IFBLK } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { PoolRestoration, RestoredPool } from "../../lib/care/restored_pool.ts";
import { open, tryLstat, tryOpen } from "../../lib/tree/confined.ts";
import { openUnnamed } from "../../lib/tree/unnamed_file.ts";
import { numbersIn } from "./check_pool.ts";
import { type RestoredMetadata, restoreMetadata } from "./metadata_writer/restore.ts";
import { DEFAULTS, parseDriverOptions } from "./options.ts";
import { METADATA_BLOCK_SIZE, Pool } from "./pool.ts";
import { ownName } from "./pool_source.ts";

/** The bytes that are copied at a time. */
const PIECE = 256 * METADATA_BLOCK_SIZE;

/** The path of the image in the home. */
const IMAGE = "devicemapper/metadata";

/**
 * Restores the metadata of a store's pool.
 *
 * @throws {VeneerError} `in use` if the pool is active; `invalid argument` if the dump is not one,
 * or is another pool's; `not supported` for a pool that another program sets up; `not found` if
 * its data is missing
 */
export function restorePool(restoration: PoolRestoration): RestoredPool {
  const { view } = restoration;
  const { thinPool, metadataDevice, dataDevice, metadataSize } = parseDriverOptions(view.options);
  if (thinPool !== undefined) {
    throw new VeneerError(
      "not supported",
      "the pool of dm.thinpooldev belongs to the program that made it; restore its metadata there",
    );
  }
  using _lock = restoration.state.lockNamed("devices", "the device set");
  const pool = new Pool(ownName(view));
  if (pool.tryStatus() !== undefined) {
    const remedy = { kind: "cleanup", of: restoration.of } as const;
    throw new VeneerError("in use", `pool ${pool.name} is active`, { remedy });
  }
  const hasImages = tryLstat(view.join("devicemapper/data")) !== undefined;
  if (!hasImages && metadataDevice !== undefined && dataDevice !== undefined) {
    return restoreDevice(restoration, metadataDevice, dataDevice);
  }
  return restoreImage(restoration, metadataSize ?? 0);
}

function restoreImage(restoration: PoolRestoration, wanted: number): RestoredPool {
  const { view, home, mender, dump, isDry } = restoration;
  const data = tryOpen(view.join("devicemapper/data"), O_RDONLY | O_NONBLOCK);
  if (data < 0) {
    throw new VeneerError(
      "not found",
      `${
        view.join("devicemapper/data")
      } is missing, or not a file: without it the metadata is of no use`,
    );
  }
  const dataSize = withFd(data, (fd) => fstat(fd).size);
  const present = tryLstat(view.join(IMAGE));
  const size = Math.max(present?.isFile ? present.size : 0, wanted) || DEFAULTS.metadataSize;
  const make = (fd: number) => {
    ftruncate(fd, BigInt(size));
    const made = restoreMetadata(dump, { fd, size, dataSize });
    fsync(fd);
    return made;
  };
  const path = home.join(IMAGE).text;
  if (isDry) return result(path, withFd(openUnnamed(home.join()), make), restoration);
  let restored: RestoredPool | undefined;
  mender.replace(IMAGE, (place) => {
    withFd(open(place, O_RDWR | O_CREAT | O_EXCL, 0o600), (fd) => {
      restored = result(path, make(fd), restoration);
    });
  });
  return restored!;
}

function restoreDevice(
  restoration: PoolRestoration,
  path: string,
  dataPath: string,
): RestoredPool {
  const { home, mender, dump, isDry } = restoration;
  const dataSize = withFd(openDevice(dataPath, O_RDONLY), (fd) => blockDeviceSize(fd, dataPath));
  return withFd(openDevice(path, O_RDWR), (device) => {
    const size = blockDeviceSize(device, path);
    return withFd(openUnnamed(home.join()), (fd) => {
      ftruncate(fd, BigInt(size));
      const made = restoreMetadata(dump, { fd, size, dataSize });
      const restored = result(path, made, restoration);
      if (isDry) return restored;
      const kept = mender.quarantine.place("metadata-device");
      withFd(open(kept, O_RDWR | O_CREAT | O_EXCL, 0o600), (aside) => {
        ftruncate(aside, BigInt(size));
        copy(device, aside, 0, size);
        fsync(aside);
      });
      pwriteAll(device, new Uint8Array(METADATA_BLOCK_SIZE), 0n);
      fsync(device);
      copy(fd, device, METADATA_BLOCK_SIZE, made.blocks * METADATA_BLOCK_SIZE);
      fsync(device);
      copy(fd, device, 0, METADATA_BLOCK_SIZE);
      fsync(device);
      return restored;
    });
  });
}

/** Opens a block device that nothing else may use meanwhile, such as another pool. */
function openDevice(path: string, flags: number): number {
  try {
    const fd = openNode(path, flags | O_EXCL | O_NONBLOCK);
    if (fstat(fd).type === S_IFBLK) return fd;
    withFd(fd, () => {});
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== EBUSY) throw error;
    throw new VeneerError("in use", `device ${path} is in use, such as by an active pool`);
  }
  throw new VeneerError("invalid argument", `device ${path}: it is not a block device`);
}

/** Copies a part of a file or device. To a file, blocks of zeros are not written. */
function copy(from: number, to: number, start: number, end: number): void {
  const bytes = new Uint8Array(PIECE), isFile = fstat(to).isFile;
  for (let at = start; at < end;) {
    const got = pread(from, bytes, Math.min(PIECE, end - at), BigInt(at));
    if (got === 0) return;
    const piece = bytes.subarray(0, got);
    if (!isFile || piece.some((byte) => byte !== 0)) pwriteAll(to, piece, BigInt(at));
    at += got;
  }
}

/**
 * Compares new metadata with the records of devices.
 *
 * @throws {VeneerError} `invalid argument` if it has none of the devices that the records name: the
 * next repair would give up every layer
 */
function result(
  path: string,
  { pool, devices }: RestoredMetadata,
  { view }: PoolRestoration,
): RestoredPool {
  const numbers = numbersIn(view), missing = [...numbers].filter((id) => !devices.has(id));
  if (numbers.size > 0 && missing.length === numbers.size) {
    throw new VeneerError(
      "invalid argument",
      "the dump has none of the devices that the records of this store name; it is another pool's",
    );
  }
  return {
    path,
    devices: devices.size,
    transactionId: pool.transactionId,
    missing: missing.length,
  };
}
