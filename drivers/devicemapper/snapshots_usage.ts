/**
 * The space that a snapshot adds to its parent.
 *
 * - Bytes: the blocks that the pool gave to its device since the device was made. They are counted
 *   in the pool's metadata: a rewritten block counts, an inherited one does not, and data that the
 *   kernel has not written to the device yet counts later. A block that the device now shares with
 *   its own snapshots still counts.
 * - Inodes: the used inodes of its file system minus those of its parent's, at least 0. If the file
 *   system is mounted only in another mount namespace, they are read from its superblock, which the
 *   kernel updates at the unmount.
 *
 * @module
 */
import { dropBuffers } from "../../ffi/block.ts";
import { SECTOR_SIZE, sendMessage, trySendMessage } from "../../ffi/devmapper.ts";
import { EBUSY } from "../../ffi/errno.ts";
import { O_RDONLY, open, pread, withFd } from "../../ffi/files.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { statfs } from "../../ffi/statfs.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";
import type { DeviceSet } from "./device_set.ts";
import { mountsOf } from "./file_systems.ts";
import { METADATA_BLOCK_SIZE, type Pool } from "./pool.ts";
import { blockDevice } from "./pool_source.ts";
import { readUsedInodes } from "./superblock.ts";
import type { ThinDevices } from "./thin_devices.ts";
import { SUPERBLOCK, ThinMetadata } from "./thin_metadata.ts";

/** The space that a device adds to its origin. */
export function usageOf(set: DeviceSet, hash: string, origin: string): Usage {
  const inodes = set.exclusively((devices) =>
    usedInodes(set, devices, hash) - usedInodes(set, devices, origin)
  );
  const { deviceId } = set.describe(hash);
  const bytes = set.readingMetadata(() => ownBytes(set.pool, deviceId));
  return { bytes, inodes: Math.max(0, inodes) };
}

/** The bytes of the pool that a device was given since it was made. */
export function ownBytes(pool: Pool, deviceId: number): number {
  return withMetadata(
    pool,
    (metadata) => metadata.ownBlocks(deviceId) * metadata.dataBlockSize * SECTOR_SIZE,
  );
}

/**
 * Reads a pool's metadata of this moment. The kernel keeps a copy for readers, while writers go on.
 * There is at most one copy, so only one process reads at a time: see
 * {@linkcode DeviceSet.readingMetadata}.
 */
function withMetadata<T>(pool: Pool, use: (metadata: ThinMetadata) => T): T {
  const reserve = () => trySendMessage(pool.name, "reserve_metadata_snap");
  const release = () => sendMessage(pool.name, "release_metadata_snap");
  let result = reserve();
  if (result === -EBUSY) { // left by a process that was killed here
    release();
    result = reserve();
  }
  unwrap(result, "device-mapper message", "reserve_metadata_snap");
  try {
    return withFd(open(blockDevice(pool.table().metadata), O_RDONLY), (fd) => {
      dropBuffers(fd); // The pool's writes bypass them.
      const read = (block: number) => {
        const bytes = new Uint8Array(METADATA_BLOCK_SIZE);
        return bytes.subarray(
          0,
          pread(fd, bytes, bytes.length, BigInt(block) * BigInt(bytes.length)),
        );
      };
      return use(new ThinMetadata(read, new ThinMetadata(read, SUPERBLOCK).heldSuperblock));
    });
  } finally {
    release();
  }
}

function usedInodes(set: DeviceSet, devices: ThinDevices, hash: string): number {
  const wasActive = devices.isActive(hash);
  const device = devices.activate(hash, set.describe(hash));
  try {
    const mounted = mountPointOf(devices.numbers(hash)!);
    if (mounted !== undefined) {
      const { totalInodes, freeInodes } = statfs(mounted);
      return totalInodes - freeInodes;
    }
    const used = readUsedInodes(device);
    if (used !== undefined) return used;
    throw new VeneerError("incompatible", `${device} has neither ext4 nor xfs`);
  } finally {
    if (!wasActive) devices.deactivateNow(hash);
  }
}

/** The visible mount point of a device in this namespace. */
function mountPointOf(numbers: string): string | undefined {
  return mountsOf(numbers).map(({ mountPoint }) => mountPoint).find((path) => {
    const stat = tryLstat(path);
    return stat !== undefined && `${stat.devMajor}:${stat.devMinor}` === numbers;
  });
}
