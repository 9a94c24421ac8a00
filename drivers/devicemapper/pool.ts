/**
 * The thin pool, as the kernel has it: one device from which thin devices take their space.
 *
 * A pool has a transaction id, which only its user changes; it is written together with all devices
 * that the user created or deleted before. Kernel,
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
import { EBUSY, EEXIST, ENODATA, ENXIO, SyscallError } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { PATIENCE, retryBusy } from "./patience.ts";

/** The devices and the settings of a pool. */
export interface PoolTable {
  /** `major:minor` of the devices; a path in a new table. */
  readonly metadata: string;
  readonly data: string;
  /** In sectors. */
  readonly blockSize: number;
  readonly whenFull: "queue" | "error";
}

/** How a pool is. */
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
   * Whether the pool exists and is complete; a pool that a killed process created without a table
   * is removed.
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
   * Whether a pool that was there is there still, and is going to be: a shutdown may have scheduled
   * its end.
   */
  stays(): boolean {
    const info = deviceInfo(this.name);
    return info !== undefined && this.#keep(info);
  }

  #keep({ deferredRemove }: DeviceInfo): boolean {
    if (!deferredRemove || cancelDeferredRemoval(this.name)) return true;
    retryBusy(PATIENCE, () => deviceInfo(this.name) === undefined ? 0 : -EBUSY);
    return false;
  }

  /** @param size in bytes */
  create(size: number, made: PoolTable): void {
    createDevice(this.name, target(size, made));
  }

  /** Gives it devices that have grown. */
  resize(size: number, made: PoolTable): void {
    reloadTable(this.name, target(size, made));
    suspendDevice(this.name);
    resumeDevice(this.name);
  }

  /**
   * Removes it, raw: 0 or `-errno`.
   *
   * @param deferred if it has active devices, remove it after the last of them
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
   * @throws {SyscallError} ENXIO if it is not there; {@linkcode VeneerError} `failed` if it failed
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

  /** The same; `undefined` if it is not there. */
  tryStatus(): PoolStatus | undefined {
    try {
      return this.status();
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ENXIO) return undefined;
      throw error;
    }
  }

  /**
   * Whether it has a device of this number, made by any program. The kernel is asked for a snapshot
   * of the number from itself: it first checks whether the number is taken, and then for the
   * origin, which does not exist for a free number. So nothing is ever created; a free number costs
   * a warning in the kernel's log.
   */
  has(id: number): boolean {
    const result = trySendQuietly(this.name, `create_snap ${id} ${id}`);
    if (result === -EEXIST) return true;
    if (result !== -ENODATA) unwrap(result, "device-mapper message", `create_snap ${id} ${id}`);
    return false;
  }

  /** Makes an empty device, raw: 0 or `-errno` (`-EEXIST` if the number is taken). */
  tryCreateThin(id: number): number {
    return trySendMessage(this.name, `create_thin ${id}`);
  }

  /** Makes a snapshot of a device that is suspended or not active, raw. */
  tryCreateSnapshot(id: number, origin: number): number {
    return trySendMessage(this.name, `create_snap ${id} ${origin}`);
  }

  /**
   * Deletes a device, raw: 0 or `-errno` (`-ENODATA` if it does not exist, `-EBUSY` if it is
   * active).
   */
  tryDelete(id: number): number {
    return trySendMessage(this.name, `delete ${id}`);
  }

  /** @throws {SyscallError} EINVAL if the id is not `from` */
  setTransactionId(from: number, to: number): void {
    sendMessage(this.name, `set_transaction_id ${from} ${to}`);
  }
}

/** A pool's table, as device-mapper takes it. */
export function target(size: number, { metadata, data, blockSize, whenFull }: PoolTable): Target {
  const features = ["skip_block_zeroing", ...(whenFull === "error" ? ["error_if_no_space"] : [])];
  return {
    start: 0,
    length: Math.floor(size / SECTOR_SIZE),
    type: "thin-pool",
    parameters: [metadata, data, blockSize, LOW_WATER_MARK, features.length, ...features].join(" "),
  };
}

/** `undefined` for another kind of target. */
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

/** `undefined` for `Fail` and `Error`, and for any other text. */
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
