/**
 * Tells whether a dump is of a store's pool.
 *
 * A dump has no name of its pool: `thin_dump` writes an empty uuid, and each pool numbers its
 * devices and its transactions from the beginning. So the dump is compared with the store's records
 * of its devices, and at last with the data: where the dump has the beginnings of devices, the pool
 * that it is of has file systems with the UUID that the store has recorded. Pools of the same
 * history can be the same in all of that.
 *
 * @module
 */
import { blockDeviceSize } from "../../ffi/block.ts";
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { O_NONBLOCK, O_RDONLY, pread, tryOpen as tryOpenNode, withFd } from "../../ffi/files.ts";
import { S_IFBLK } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { readRecord } from "../../lib/care/record_file.ts";
import type { DumpedFacts, DumpFit, PoolDump } from "../../lib/care/restored_pool.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import { exists, tryOpen } from "../../lib/tree/confined.ts";
import { numberIn } from "./check_pool.ts";
import { type DumpedDevice, type DumpedRange, readDump } from "./metadata_writer/dump.ts";
import { DISCARDED_SUFFIX, isRecordName } from "./names.ts";
import { parseDriverOptions } from "./options.ts";
import { parseSuperblock } from "./superblock.ts";

/** The most devices whose data is looked at. */
const MOST_LOOKS = 16;

/** Reads a dump to its end; memory grows with its devices, and not with their mappings. */
export function readPoolDump(dump: number): PoolDump {
  const devices = new Map<number, DumpedFacts>();
  let device: DumpedDevice, first: number | undefined;
  let facts = { transactionId: 0, blockSize: 0, blocks: 0 };
  readDump(dump, {
    begin: ({ transactionId, dataBlockSize, dataBlocks }) => {
      facts = { transactionId, blockSize: dataBlockSize * SECTOR_SIZE, blocks: dataBlocks };
    },
    device: (next) => {
      device = next;
      first = undefined;
    },
    mapped: ({ origin, data }: DumpedRange) => {
      if (origin === 0) first ??= data;
    },
    endDevice: () => devices.set(device.id, { transactionId: device.transactionId, first }),
  });
  return { ...facts, devices };
}

/** Compares a dump with the pool of a store, as far as records and data can be read. */
export function fitOfDump(view: StoreView, dump: PoolDump): DumpFit {
  const recorded = recordedDevices(view);
  const common = [...recorded].filter(([id]) => dump.devices.has(id));
  if (recorded.size > 0 && common.length === 0) return against("has none of its devices");
  for (const [id, transaction] of common) {
    const made = dump.devices.get(id)!.transactionId;
    // A younger device may have the number of one that was deleted after the dump. The kernel
    // counts the transaction that a device is made in when that ends.
    if (transaction === undefined || transaction > dump.transactionId) continue;
    if (transaction !== made + 1 && transaction !== made) {
      return against(
        `has device ${id} of transaction ${made}, and the record says ${transaction}`,
      );
    }
  }
  return withData(view, (fd, size) => {
    const blocks = Math.floor(size / dump.blockSize);
    if (dump.blocks > blocks) {
      return against(`has ${dump.blocks} blocks of data, and this pool has room for ${blocks}`);
    }
    const isExact = common.length === recorded.size && common.length === dump.devices.size;
    return { isProven: isProven(fd, dump, common.map(([id]) => id), view), isExact };
  }) ?? { isProven: false, isExact: false };
}

const against = (what: string): DumpFit => ({ against: what, isProven: false, isExact: false });

/** Whether the store's file systems are at the beginnings of devices in the data. */
function isProven(
  data: number,
  { blockSize, devices }: PoolDump,
  ids: readonly number[],
  view: StoreView,
): boolean {
  const uuid = recordedUuid(view), bytes = new Uint8Array(4096);
  // The youngest devices differ most from another pool's.
  const places = ids.toSorted((a, b) => b - a).map((id) => devices.get(id)!.first)
    .filter((first) => first !== undefined).slice(0, MOST_LOOKS);
  return uuid !== undefined && places.length > 0 && places.every((first) => {
    const length = pread(data, bytes, bytes.length, BigInt(first) * BigInt(blockSize));
    return parseSuperblock(bytes.subarray(0, length))?.uuid === uuid;
  });
}

/** The recorded devices, with the transactions in which they were made, if these can be read. */
function recordedDevices(view: StoreView): Map<number, number | undefined> {
  const found = new Map<number, number | undefined>();
  for (const name of view.names(view.join("metadata"))) {
    if (name !== "base" && !isRecordName(name) && !name.endsWith(DISCARDED_SUFFIX)) continue;
    const { text } = readRecord(view.join("metadata", name), { most: 1 << 16 });
    const id = numberIn(text);
    if (id === undefined) continue;
    const digits = /"transaction_id"\s*:\s*(\d{1,15})\s*[,}]/.exec(text ?? "")?.[1];
    found.set(id, digits === undefined ? undefined : Number(digits));
  }
  return found;
}

/** The UUID of the store's file systems; `undefined` if it cannot be read. */
function recordedUuid(view: StoreView): string | undefined {
  const { text } = readRecord(view.join("metadata", "deviceset-metadata"), { most: 1 << 16 });
  return /"BaseDeviceUUID"\s*:\s*"([0-9a-f-]{36})"/i.exec(text ?? "")?.[1].toLowerCase();
}

/** Opens the pool's data, an image or a device; `undefined` if it is neither. */
function withData<T>(view: StoreView, use: (fd: number, size: number) => T): T | undefined {
  const image = view.join("devicemapper", "data"), flags = O_RDONLY | O_NONBLOCK;
  const { dataDevice } = parseDriverOptions(view.options), isImage = exists(image);
  if (!isImage && dataDevice === undefined) return undefined;
  const fd = isImage ? tryOpen(image, flags) : tryOpenNode(dataDevice!, flags);
  if (fd < 0) return undefined;
  return withFd(fd, () => {
    const { isFile, type, size } = fstat(fd);
    if (isImage) return isFile ? use(fd, size) : undefined;
    return type === S_IFBLK ? use(fd, blockDeviceSize(fd, dataDevice!)) : undefined;
  });
}
