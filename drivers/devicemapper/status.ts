/**
 * The lines of `status`, in Docker's order and under Docker's names.
 *
 * @module
 */
import { isUdevSynced, libraryVersion } from "../../ffi/devmapper.ts";
import { decode } from "../../ffi/cstring.ts";
import { tryReadlink } from "../../ffi/paths.ts";
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { Home } from "../../lib/store/home.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";
import { formatSize } from "../../lib/base/sizes.ts";
import type { DeviceSetStatus } from "./device_set.ts";
import type { DeviceMapperOptions } from "./options.ts";
import { METADATA_BLOCK_SIZE } from "./pool.ts";
import { availableBytes, dataImage, metadataImage } from "./pool_setup.ts";

/** The state of a store's pool. */
export function statusLines(
  { poolName, blockSize, pool, data, metadata, base, baseFileSystem, deleted }: DeviceSetStatus,
  options: DeviceMapperOptions,
  home: Home,
): StatusLine[] {
  const isImage = options.thinPool === undefined;
  const dataLoop = isImage && options.dataDevice === undefined ? dataImage(home) : undefined;
  const metadataLoop = isImage && options.metadataDevice === undefined
    ? metadataImage(home)
    : undefined;
  const size = (blocks: number, unit: number) => formatSize(blocks * unit);
  // An image cannot grow beyond the free space of its file system, even if the pool reports more.
  const available = (blocks: number, unit: number, image: ConfinedPath | undefined) =>
    formatSize(Math.min(blocks * unit, image === undefined ? Infinity : availableBytes(image)));
  return [
    ["Pool Name", poolName],
    ["Pool Blocksize", formatSize(blockSize)],
    ["Base Device Size", formatSize(base?.size ?? options.baseSize)],
    ["Backing Filesystem", baseFileSystem],
    ["Udev Sync Supported", String(isUdevSynced())],
    ["Data file", deviceName(data)],
    ["Metadata file", deviceName(metadata)],
    ...optional("Data loop file", dataLoop?.text),
    ...optional("Metadata loop file", metadataLoop?.text),
    ["Data Space Used", size(pool.usedData, blockSize)],
    ["Data Space Total", size(pool.totalData, blockSize)],
    ["Data Space Available", available(pool.totalData - pool.usedData, blockSize, dataLoop)],
    ["Metadata Space Used", size(pool.usedMetadata, METADATA_BLOCK_SIZE)],
    ["Metadata Space Total", size(pool.totalMetadata, METADATA_BLOCK_SIZE)],
    [
      "Metadata Space Available",
      available(pool.totalMetadata - pool.usedMetadata, METADATA_BLOCK_SIZE, metadataLoop),
    ],
    [
      "Thin Pool Minimum Free Space",
      size(Math.floor(pool.totalData * options.minFreeSpace), blockSize),
    ],
    ["Deferred Removal Enabled", String(options.deferredRemoval)],
    ["Deferred Deletion Enabled", String(options.deferredDeletion)],
    ["Deferred Deleted Device Count", String(deleted)],
    ["Library Version", libraryVersion()],
    ...semaphores(),
  ];
}

const optional = (name: string, value: string | undefined): StatusLine[] =>
  value === undefined ? [] : [[name, value]];

/** The node of a block device, by its `major:minor`. */
function deviceName(numbers: string): string {
  const target = tryReadlink(`/sys/dev/block/${numbers}`);
  return typeof target === "number" ? numbers : `/dev/${decode(target).split("/").at(-1)}`;
}

/**
 * The number of the machine's semaphore sets in use, and their limit, `SEMMNI` of semget(2). The
 * cookies by which libdevmapper waits for udev are such sets.
 */
function semaphores(): StatusLine[] {
  const total = readSystemFile("/proc/sys/kernel/sem")?.split(/\s+/)[3];
  const used = readSystemFile("/proc/sysvipc/sem")?.split("\n").slice(1).filter(Boolean).length;
  if (total === undefined || used === undefined) return [];
  return [["Semaphore Set Used", String(used)], ["Semaphore Set Total", total]];
}
