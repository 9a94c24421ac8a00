/**
 * The thin pool in the kernel: one device from which thin devices take their space.
 *
 * A pool has a transaction id, which only its user changes. The kernel writes it together with all
 * devices that the user created or deleted before. Kernel,
 * Documentation/admin-guide/device-mapper/thin-provisioning.rst.
 *
 * @module
 */
import {
  cancelDeferredRemoval,
  createDevice,
  deviceDirectory,
  type DeviceInfo,
  deviceInfo,
  ensureNode,
  reloadTable,
  resumeDevice,
  SECTOR_SIZE,
  sendMessage,
  status,
  suspendDevice,
  table,
  type Target,
  tryRemoveDevice,
  trySendMessage,
  trySendQuietly,
} from "../../ffi/devmapper.ts";
import { EEXIST, ENODATA, ENXIO, SyscallError } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { PATIENCE } from "./patience.ts";
import { waitUntilRemoved } from "./removal.ts";

/** The devices and the settings of a pool. */
export interface PoolTable {
  /** `major:minor` of the devices; a path in a new table. */
  readonly metadata: string;
  readonly data: string;
  /** In sectors. */
  readonly blockSize: number;
  readonly whenFull: "queue" | "error";
}

/** The state of a pool. */
export interface PoolStatus {
  readonly transactionId: number;
  /** In blocks of metadata, which are 4 KiB. */
  readonly usedMetadata: number;
  readonly totalMetadata: number;
  /** In blocks of {@linkcode PoolTable.blockSize}. */
  readonly usedData: number;
  readonly totalData: number;
  readonly mode: "rw" | "ro" | "out_of_data_space";
  readonly needsCheck: boolean;
}

/**
 * The size of a metadata block in bytes: `THIN_METADATA_BLOCK_SIZE` of the kernel's
 * dm-thin-metadata.h.
 */
export const METADATA_BLOCK_SIZE = 4096;

/** Free blocks at which the kernel sends an event: Docker's choice. */
const LOW_WATER_MARK = 32768;

/** One pool. Every method asks the kernel. */
export class Pool {
  constructor(readonly name: string) {}

  /** The path of its node. */
  get path(): string {
    return `${deviceDirectory()}/${this.name}`;
  }

  /**
   * Whether the pool exists and is complete. A pool that a killed process left without a table is
   * removed.
   */
  exists(): boolean {
    const info = deviceInfo(this.name);
    if (info === undefined || !this.#keep(info)) return false;
    if (!info.live) {
      tryRemoveDevice(this.name);
      return false;
    }
    if (info.suspended) resumeDevice(this.name);
    ensureNode(this.name, info);
    return true;
  }

  /**
   * Whether the pool still exists and will stay: another process's shutdown may have scheduled its
   * removal. That is cancelled here, or its end is awaited.
   */
  stays(): boolean {
    const info = deviceInfo(this.name);
    return info !== undefined && this.#keep(info);
  }

  #keep(info: DeviceInfo): boolean {
    if (!info.deferredRemove || cancelDeferredRemoval(this.name)) return true;
    waitUntilRemoved(this.name, info, PATIENCE);
    return false;
  }

  /** @param size in bytes */
  create(size: number, made: PoolTable): void {
    createDevice(this.name, target(size, made));
  }

  /** Gives the pool the new size of its grown devices. */
  resize(size: number, made: PoolTable): void {
    reloadTable(this.name, target(size, made));
    suspendDevice(this.name);
    resumeDevice(this.name);
  }

  /**
   * Removes the pool; returns the raw result, 0 or `-errno`.
   *
   * @param deferred whether a pool with active devices is removed after the last of them
   */
  tryRemove(deferred = false): number {
    return tryRemoveDevice(this.name, deferred);
  }

  /** @throws {VeneerError} `incompatible` if the device of this name is not a pool */
  table(): PoolTable & { readonly size: number } {
    const [first] = table(this.name);
    const parsed = first && parsePoolTable(first);
    if (parsed) return { ...parsed, size: first.length * SECTOR_SIZE };
    throw new VeneerError(
      "incompatible",
      `device ${this.name} is a ${first?.type ?? "device without a table"}, not a thin-pool`,
    );
  }

  /**
   * @throws {SyscallError} ENXIO if the pool does not exist; {@linkcode VeneerError} `failed` if
   * the pool has failed
   */
  status(): PoolStatus {
    const [first] = status(this.name);
    const parsed = first && parsePoolStatus(first.parameters);
    if (parsed) return parsed;
    throw new VeneerError(
      "failed",
      `pool ${this.name} has failed (${first?.parameters ?? "no status"}): see dmesg; ` +
        "its metadata may need thin_repair",
    );
  }

  /** The same; `undefined` if the pool does not exist. */
  tryStatus(): PoolStatus | undefined {
    try {
      return this.status();
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ENXIO) return undefined;
      throw error;
    }
  }

  /**
   * Whether the pool has a device with this number, made by any program. The kernel is asked for a
   * snapshot of the number from itself. It first checks whether the number is taken, and then looks
   * for the origin, which does not exist if the number is free. So no device is ever created, but a
   * free number causes a warning in the kernel's log.
   */
  has(id: number): boolean {
    const result = trySendQuietly(this.name, `create_snap ${id} ${id}`);
    if (result === -EEXIST) return true;
    if (result !== -ENODATA) unwrap(result, "device-mapper message", `create_snap ${id} ${id}`);
    return false;
  }

  /**
   * Makes an empty device; returns the raw result, 0 or `-errno` (`-EEXIST` if the number is
   * taken).
   */
  tryCreateThin(id: number): number {
    return trySendMessage(this.name, `create_thin ${id}`);
  }

  /** Makes a snapshot of a device that is suspended or inactive; returns the raw result. */
  tryCreateSnapshot(id: number, origin: number): number {
    return trySendMessage(this.name, `create_snap ${id} ${origin}`);
  }

  /**
   * Deletes a device; returns the raw result, 0 or `-errno` (`-ENODATA` if it does not exist,
   * `-EBUSY` if it is active).
   */
  tryDelete(id: number): number {
    return trySendMessage(this.name, `delete ${id}`);
  }

  /** @throws {SyscallError} EINVAL if the id is not `from` */
  setTransactionId(from: number, to: number): void {
    sendMessage(this.name, `set_transaction_id ${from} ${to}`);
  }
}

/** A pool's table, in the form of device-mapper. */
export function target(size: number, { metadata, data, blockSize, whenFull }: PoolTable): Target {
  const features = ["skip_block_zeroing", ...(whenFull === "error" ? ["error_if_no_space"] : [])];
  return {
    start: 0,
    length: Math.floor(size / SECTOR_SIZE),
    type: "thin-pool",
    parameters: [metadata, data, blockSize, LOW_WATER_MARK, features.length, ...features].join(" "),
  };
}

/** Parses a pool's table; `undefined` for another type of target. */
export function parsePoolTable({ type, parameters }: Target): PoolTable | undefined {
  if (type !== "thin-pool") return undefined;
  const [metadata, data, blockSize, , , ...features] = parameters.split(" ");
  return {
    metadata,
    data,
    blockSize: Number(blockSize),
    whenFull: features.includes("error_if_no_space") ? "error" : "queue",
  };
}

/** Parses a pool's status; `undefined` for `Fail`, `Error` and any other text. */
export function parsePoolStatus(parameters: string): PoolStatus | undefined {
  const match = /^(\d+) (\d+)\/(\d+) (\d+)\/(\d+) \S+ (rw|ro|out_of_data_space)\b(.*)$/.exec(
    parameters.trim(),
  );
  if (match === null) return undefined;
  const [transactionId, usedMetadata, totalMetadata, usedData, totalData] = match.slice(1, 6)
    .map(Number);
  return {
    transactionId,
    usedMetadata,
    totalMetadata,
    usedData,
    totalData,
    mode: match[6] as PoolStatus["mode"],
    needsCheck: match[7].split(" ").includes("needs_check"),
  };
}
