/**
 * The metadata and the data of a store's pool, as a check reads them: in the images of the home, on
 * the devices that options name, or on those of the active pool.
 *
 * A store has images or devices, never both. So options that name devices are ignored if the home
 * has images.
 *
 * @module
 */
import { dropBuffers } from "../../ffi/block.ts";
import { deviceDirectory, table } from "../../ffi/devmapper.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { O_NONBLOCK, O_RDONLY, tryOpen as tryOpenNode, withFd } from "../../ffi/files.ts";
import { S_IFBLK } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import { exists, tryOpen } from "../../lib/tree/confined.ts";
import { parseDriverOptions } from "./options.ts";
import { parsePoolTable } from "./pool.ts";

/** One of the two parts of a pool. */
export type PoolPart = "metadata" | "data";

/** A pool that is only read. */
export interface PoolSource {
  /** Whether it is on devices, which may be another store's by mistake. */
  readonly isOnDevices: boolean;
  /** The name of the pool's device, if it is active. */
  readonly pool: string;
  /** The path of a part, for messages. */
  path(part: PoolPart): string;
  /** Opens a part for reading: a descriptor, which the caller closes, or `-errno`. */
  open(part: PoolPart): number;
  /**
   * Runs `use` on an open part; returns `undefined` if it cannot be opened, or is neither an image
   * nor a device.
   *
   * @param refresh makes the next read see the pool's latest writes
   */
  read<T>(part: PoolPart, use: (fd: number, refresh: () => void) => T): T | undefined;
}

/** The pool of a store; `undefined` if it has no images, and its devices are not known. */
export function poolSource(view: StoreView): PoolSource | undefined {
  const { dataDevice, metadataDevice, thinPool } = parseDriverOptions(view.options);
  const pool = thinPool ?? ownName(view);
  const image = (part: PoolPart) => view.join("devicemapper", part);
  const { metadata, data } = exists(image("metadata")) && exists(image("data"))
    ? {}
    : thinPool === undefined && (metadataDevice ?? dataDevice) !== undefined
    ? { metadata: metadataDevice, data: dataDevice }
    : activePool(pool);
  const nodes = { metadata, data };
  if (metadata === undefined && !exists(image("metadata"))) return undefined;
  const openPart = (part: PoolPart) => {
    const node = nodes[part], flags = O_RDONLY | O_NONBLOCK;
    return node === undefined ? tryOpen(image(part), flags) : tryOpenNode(node, flags);
  };
  return {
    isOnDevices: metadata !== undefined,
    pool,
    path: (part) => nodes[part] ?? image(part).text,
    open: openPart,
    read: (part, use) => {
      const node = nodes[part], fd = openPart(part);
      if (fd < 0) return undefined;
      return withFd(fd, () => {
        const { isFile, type } = fstat(fd);
        if (node === undefined ? !isFile : type !== S_IFBLK) return undefined;
        // The pool's writes bypass the cached pages of a device, but not those of an image.
        return use(fd, node === undefined ? () => {} : () => dropBuffers(fd));
      });
    },
  };
}

/** The name that a pool has if it was made for the store of a home. */
export function ownName(view: StoreView): string {
  const { devMajor, devMinor, inode } = fstat(view.descriptor);
  return `docker-${devMajor}:${devMinor}-${inode}-pool`;
}

/** The nodes of an active pool's devices; none if there is no such pool. */
function activePool(name: string): { readonly [part in PoolPart]?: string } {
  try {
    const [first] = table(name), parsed = first && parsePoolTable(first);
    if (parsed === undefined) return {};
    return { metadata: blockDevice(parsed.metadata), data: blockDevice(parsed.data) };
  } catch (error) {
    // There is no such device, or no device-mapper.
    if (error instanceof SyscallError || error instanceof VeneerError) return {};
    throw error;
  }
}

/**
 * The node of a block device. Without udev, the nodes of device-mapper's devices have only their
 * names.
 *
 * @param numbers `major:minor`
 */
export function blockDevice(numbers: string): string {
  const system = `/sys/dev/block/${numbers}`;
  const name = readSystemFile(`${system}/dm/name`)?.trim();
  if (name !== undefined) return `${deviceDirectory()}/${name}`;
  return `/dev/${Deno.realPathSync(system).split("/").at(-1)!.replaceAll("!", "/")}`;
}
