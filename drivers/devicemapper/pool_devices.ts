/**
 * The devices in a pool, read from its metadata image for a check, which neither asks the pool nor
 * changes it.
 *
 * An active pool writes changed blocks elsewhere, and the superblock last. So a reading is valid if
 * the superblock is the same before and after it.
 *
 * @module
 */
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { O_NONBLOCK, O_RDONLY, pread, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { messageOf } from "../../lib/base/errors.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import { tryOpen } from "../../lib/tree/confined.ts";
import { METADATA_BLOCK_SIZE } from "./pool.ts";
import { type DeviceRecord, formatDeviceRecord, parseDeviceRecord } from "./records.ts";
import { readRecord } from "../../lib/care/record_file.ts";
import { parseSuperblock } from "./superblock.ts";
import { dataBlockSize, SUPERBLOCK, ThinMetadata } from "./thin_metadata.ts";

/** The most readings of a pool that changes meanwhile. */
const MOST_READINGS = 10;

/** A pool's devices at one moment. */
export interface PoolDevices {
  readonly transactionId: number;
  /** The numbers of all devices, and for each the pool's transaction id when it was made. */
  readonly devices: ReadonlyMap<number, number>;
}

/**
 * Reads the devices; the words for the damage if the metadata is damaged; `undefined` if there is no
 * image, or the pool changes too quickly.
 */
export function readPoolDevices(view: StoreView): PoolDevices | string | undefined {
  return withMetadata(view, (metadata) => ({
    transactionId: metadata.transactionId,
    devices: metadata.devices(),
  }));
}

/**
 * A record for a device without one. The size is that of its file system; the base's, if it has no
 * file system; `undefined` if that is unknown, too.
 */
export function recordOfDevice(
  view: StoreView,
  deviceId: number,
  { transactionId, devices }: PoolDevices,
): string | undefined {
  const size = fileSystemSize(view, deviceId) ?? baseSize(view);
  if (size === undefined) return undefined;
  const record: DeviceRecord = {
    deviceId,
    size,
    transactionId: Math.min(transactionId, devices.get(deviceId)! + 1),
    initialized: true,
    deleted: false,
  };
  return formatDeviceRecord(record);
}

function withMetadata<T>(
  view: StoreView,
  use: (metadata: ThinMetadata) => T,
): T | string | undefined {
  const fd = tryOpen(view.join("devicemapper", "metadata"), O_RDONLY | O_NONBLOCK);
  if (fd < 0) return undefined;
  return withFd(fd, () => {
    if (!fstat(fd).isFile) return undefined;
    const read = (block: number) => readAt(fd, METADATA_BLOCK_SIZE, BigInt(block));
    for (let readings = 0; readings < MOST_READINGS; readings++) {
      const before = read(SUPERBLOCK);
      if (before.length < METADATA_BLOCK_SIZE) return undefined;
      // Another finding reports it.
      if (dataBlockSize(new DataView(before.buffer)) === undefined) return undefined;
      let result: T | string;
      try {
        result = use(new ThinMetadata(read, SUPERBLOCK));
      } catch (error) {
        result = messageOf(error).replace(/; .*/, "");
      }
      const after = read(SUPERBLOCK);
      if (after.every((byte, i) => byte === before[i])) return result;
    }
    return undefined;
  });
}

function readAt(fd: number, size: number, block: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  return bytes.subarray(0, Math.max(0, pread(fd, bytes, size, block * BigInt(size))));
}

/** The size of the file system in a device, as the data image has it. */
function fileSystemSize(view: StoreView, deviceId: number): number | undefined {
  const place = withMetadata(view, (metadata) => {
    const block = metadata.firstBlock(deviceId);
    return block === undefined ? undefined : block * BigInt(metadata.dataBlockSize * SECTOR_SIZE);
  });
  const fd = tryOpen(view.join("devicemapper", "data"), O_RDONLY | O_NONBLOCK);
  if (fd < 0) return undefined;
  return withFd(fd, () => {
    if (typeof place !== "bigint" || !fstat(fd).isFile) return undefined;
    const start = new Uint8Array(4096);
    const length = pread(fd, start, start.length, place);
    return parseSuperblock(start.subarray(0, Math.max(0, length)))?.size;
  });
}

function baseSize(view: StoreView): number | undefined {
  const { text = "" } = readRecord(view.join("metadata", "base"), { most: 1 << 16 });
  try {
    return parseDeviceRecord(text, "").size;
  } catch {
    return undefined;
  }
}
