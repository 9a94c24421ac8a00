/**
 * The devices in a pool, read from its metadata for a check, which neither asks the pool nor changes
 * it.
 *
 * An active pool writes changed blocks elsewhere, and the superblock last. So a reading is valid if
 * the superblock is the same before and after it.
 *
 * @module
 */
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { pread } from "../../ffi/files.ts";
import { messageOf } from "../../lib/base/errors.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import { METADATA_BLOCK_SIZE } from "./pool.ts";
import type { PoolSource } from "./pool_source.ts";
import { type DeviceRecord, formatDeviceRecord, parseDeviceRecord } from "./records.ts";
import { readRecord } from "../../lib/care/record_file.ts";
import { parseSuperblock } from "./superblock.ts";
import { dataBlockSize, SUPERBLOCK, ThinMetadata } from "./thin_metadata.ts";

/** The most readings of a pool that changes meanwhile. */
const MOST_READINGS = 10;

/** A pool's devices at one moment. */
export interface PoolDevices {
  readonly source: PoolSource;
  readonly transactionId: number;
  /** The numbers of all devices, and for each the pool's transaction id when it was made. */
  readonly devices: ReadonlyMap<number, number>;
}

/** The words for a device that was overwritten. */
const NO_METADATA = "it does not begin as the metadata of a pool";

/**
 * Reads the devices; the words for the damage if the metadata is damaged; `undefined` if it cannot
 * be opened, or the pool changes too quickly.
 */
export function readPoolDevices(source: PoolSource): PoolDevices | string | undefined {
  return withMetadata(source, (metadata) => ({
    source,
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
  { source, transactionId, devices }: PoolDevices,
): string | undefined {
  const size = fileSystemSize(source, deviceId) ?? baseSize(view);
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
  source: PoolSource,
  use: (metadata: ThinMetadata) => T,
): T | string | undefined {
  return source.read("metadata", (fd, refresh) => {
    const read = (block: number) => readAt(fd, METADATA_BLOCK_SIZE, BigInt(block));
    for (let readings = 0; readings < MOST_READINGS; readings++) {
      refresh();
      const before = read(SUPERBLOCK);
      if (before.length < METADATA_BLOCK_SIZE) return undefined;
      if (dataBlockSize(new DataView(before.buffer)) === undefined) {
        // Another finding reports it of an image.
        return source.isOnDevices ? NO_METADATA : undefined;
      }
      let result: T | string;
      try {
        result = use(new ThinMetadata(read, SUPERBLOCK));
      } catch (error) {
        result = messageOf(error).replace(/; .*/, "");
      }
      refresh();
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

/** The size of the file system in a device, as the pool's data has it. */
function fileSystemSize(source: PoolSource, deviceId: number): number | undefined {
  const place = withMetadata(source, (metadata) => {
    const block = metadata.firstBlock(deviceId);
    return block === undefined ? undefined : block * BigInt(metadata.dataBlockSize * SECTOR_SIZE);
  });
  return source.read("data", (fd, refresh) => {
    if (typeof place !== "bigint") return undefined;
    refresh();
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
