/**
 * The kernel's thin devices, which are active or inactive.
 *
 * A device is active while a mapping of its name exists. All calls wait for udev's part of the
 * work, by a cookie (`devmapper_task.ts`). If users are about to close a device, calls are tried
 * again for a limited time.
 *
 * @module
 */
import { tryDiscard } from "../../ffi/block.ts";
import {
  cancelDeferredRemoval,
  createDevice,
  deviceDirectory,
  deviceInfo,
  deviceNames,
  ensureNode,
  reloadTable,
  resumeDevice,
  SECTOR_SIZE,
  status,
  suspendDevice,
  table,
  type Target,
  tryRemoveDevice,
} from "../../ffi/devmapper.ts";
import { EBUSY, ENXIO, SyscallError } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { holdersOfDevice } from "./holders.ts";
import type { DeviceNames } from "./names.ts";
import { PATIENCE, retryBusy } from "./patience.ts";
import type { Pool } from "./pool.ts";
import { type Numbers, waitUntilRemoved } from "./removal.ts";

/** A device's number in the pool, and its size in bytes. */
export interface Thin {
  readonly deviceId: number;
  readonly size: number;
}

/** The space that a device has, its own or shared. */
export interface ThinStatus {
  readonly mappedSectors: number;
  /** The highest sector that has space; 0 if there is none. */
  readonly highestMappedSector: number;
}

/** The active devices of one store. */
export class ThinDevices {
  constructor(
    readonly names: DeviceNames,
    readonly pool: Pool,
    /** Whether a busy device may be removed later. */
    readonly deferredRemoval: boolean,
    readonly patience: number = PATIENCE,
  ) {}

  /** The path of a device's node while it is active. */
  path(hash: string): string {
    return `${deviceDirectory()}/${this.names.device(hash)}`;
  }

  isActive(hash: string): boolean {
    return deviceInfo(this.names.device(hash))?.live === true;
  }

  /** `major:minor` of an active device. */
  numbers(hash: string): string | undefined {
    const info = deviceInfo(this.names.device(hash));
    return info && `${info.major}:${info.minor}`;
  }

  /**
   * Activates a device; returns its path. An active one stays, but is resized and resumed if
   * needed.
   *
   * @param isShared whether another program, which takes none of our locks, uses devices of this
   * store, too: then an existing mapping is not repaired
   */
  activate(hash: string, thin: Thin, { isShared = false } = {}): string {
    const name = this.names.device(hash);
    const isThere = isShared ? this.#isKept(name) : this.#keep(name, thin);
    if (!isThere) createDevice(name, this.#target(thin));
    return this.path(hash);
  }

  /** Whether a mapping of this name exists and will stay. */
  #isKept(name: string): boolean {
    const info = deviceInfo(name);
    if (info === undefined) return false;
    if (!info.deferredRemove || cancelDeferredRemoval(name)) return true;
    this.#waitUntilGone(name, info);
    return false;
  }

  /** Whether a usable mapping of this name exists; an unusable one is removed. */
  #keep(name: string, thin: Thin): boolean {
    const info = deviceInfo(name);
    if (info === undefined) return false;
    if (info.deferredRemove && !cancelDeferredRemoval(name)) {
      this.#waitUntilGone(name, info);
      return false;
    }
    const wanted = this.#target(thin);
    const [current] = info.live ? table(name) : [];
    const isSame = current !== undefined && current.length === wanted.length &&
      deviceIdOf(current) === thin.deviceId;
    if (isSame) {
      // left by a process that was left by a kill while a snapshot was made
      if (info.suspended) resumeDevice(name);
      ensureNode(name, info);
      return true;
    }
    if (current !== undefined && deviceIdOf(current) === thin.deviceId) {
      reloadTable(name, wanted);
      resumeDevice(name);
      ensureNode(name, info);
      return true;
    }
    // left by a process killed before it loaded a table, or of a removed device
    this.#remove(name, false);
    return false;
  }

  #target({ deviceId, size }: Thin): Target {
    return {
      start: 0,
      length: size / SECTOR_SIZE,
      type: "thin",
      parameters: `${this.pool.path} ${deviceId}`,
    };
  }

  /**
   * Deactivates a device. If it is busy and deferred removal is on, it is removed when its last
   * user closes it.
   *
   * @throws {VeneerError} `in use` with its users, if it is still busy after the wait
   */
  deactivate(hash: string, patience = this.patience): void {
    this.#remove(this.names.device(hash), this.deferredRemoval, patience);
  }

  /**
   * The same if another program uses devices of this store, too: a busy device stays active for
   * that program.
   */
  deactivateShared(hash: string, patience = this.patience): void {
    const name = this.names.device(hash);
    if (deviceInfo(name) === undefined) return;
    const result = retryBusy(patience, () => tryRemoveDevice(name, false));
    if (result !== -EBUSY && result !== -ENXIO) unwrap(result, "device-mapper remove", name);
  }

  /** Deactivates a device at once, regardless of deferred removal. */
  deactivateNow(hash: string, patience = this.patience): void {
    this.#remove(this.names.device(hash), false, patience);
  }

  #remove(name: string, deferred: boolean, patience = this.patience): void {
    if (deviceInfo(name) === undefined) return;
    const result = retryBusy(patience, () => tryRemoveDevice(name, deferred));
    if (result === -EBUSY) throw this.#busy(name, patience);
    if (result !== -ENXIO) unwrap(result, "device-mapper remove", name);
  }

  #waitUntilGone(name: string, numbers: Numbers): void {
    if (!waitUntilRemoved(name, numbers, this.patience)) throw this.#busy(name, this.patience);
  }

  #busy(name: string, patience: number): VeneerError {
    const info = deviceInfo(name);
    const holders = info === undefined ? [] : holdersOfDevice(info.major, info.minor);
    const by = holders.length > 0 ? ` by ${holders.join(", ")}` : "";
    return new VeneerError(
      "in use",
      `device ${name} has been in use${by} for ${patience / 1000} s; end that use and try again`,
    );
  }

  /**
   * Runs `use` while the device is suspended: no writes are in flight, and a mounted file system is
   * consistent.
   */
  whileSuspended<T>(hash: string, use: () => T): T {
    const name = this.names.device(hash);
    if (deviceInfo(name)?.live !== true) return use();
    if (!ifThere(() => (suspendDevice(name), true))) return use();
    try {
      return use();
    } finally {
      ifThere(() => resumeDevice(name));
    }
  }

  /** Resumes devices that a killed process left suspended. */
  resumeAll(): void {
    for (const name of this.active()) {
      if (deviceInfo(name)?.suspended) ifThere(() => resumeDevice(name));
    }
  }

  /** The names of this store's mappings, except the pool's. */
  active(): string[] {
    return deviceNames().map(({ name }) => name)
      .filter((name) => this.names.isOwn(name) && name !== this.names.pool);
  }

  /**
   * Deactivates a device by its name, which {@linkcode active} returned. With deferred removal, a
   * busy one is removed later.
   *
   * @throws {VeneerError} `in use` if it is still busy after the wait, even if it is removed later
   */
  deactivateNamed(name: string, patience: number): void {
    try {
      this.#remove(name, false, patience);
    } catch (error) {
      if (this.deferredRemoval) this.#remove(name, true, patience);
      throw error;
    }
  }

  /**
   * Discards the space of a device that will be deleted, down to the pool's own devices. Best
   * effort.
   */
  discard(hash: string, thin: Thin): void {
    const path = this.activate(hash, thin);
    try {
      tryDiscard(path, thin.size);
    } finally {
      this.deactivateNow(hash);
    }
  }

  /** The space of a device; `undefined` if the device is not active. */
  status(hash: string): ThinStatus | undefined {
    const targets = ifThere(() => status(this.names.device(hash)));
    if (targets === undefined) return undefined;
    const [first] = targets;
    const [mapped, highest] = (first?.parameters ?? "").split(" ").map(Number);
    return { mappedSectors: mapped || 0, highestMappedSector: highest || 0 };
  }
}

/**
 * Runs a task on a device. Returns `undefined` if the device does not exist: its last user may have
 * just closed it.
 */
function ifThere<T>(task: () => T): T | undefined {
  try {
    return task();
  } catch (error) {
    if (error instanceof SyscallError && error.errno === ENXIO) return undefined;
    throw error;
  }
}

/** The device id in a thin device's table, `<pool> <device id>`. */
function deviceIdOf({ parameters }: Target): number {
  return Number(parameters.split(" ")[1]);
}
