/**
 * Thin devices as the kernel has them: active or not.
 *
 * A device is active while a mapping of its name is there. Everything waits: for udev's part of the work by
 * cookie (`devmapper_task.ts`), for users that are about to close a device by trying again, with a bound.
 *
 * @module
 */
import { tryDiscard } from "../../ffi/block.ts";
import {
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
  trySendMessage,
} from "../../ffi/devmapper.ts";
import { EBUSY, ENXIO } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/errors.ts";
import { sleep } from "../../lib/sleep.ts";
import { holdersOfDevice } from "./holders.ts";
import type { DeviceNames } from "./names.ts";
import type { Pool } from "./pool.ts";

/** How long a busy device is waited for, and between two tries, in milliseconds. */
export const PATIENCE = 10_000;
const PAUSE = 50;

/** What makes a device: its number in the pool, and its size in bytes. */
export interface Thin {
  readonly deviceId: number;
  readonly size: number;
}

/** How much of a device is its own or shared space. */
export interface ThinStatus {
  readonly mappedSectors: number;
  /** The highest sector with space; 0 where there is none. */
  readonly highestMappedSector: number;
}

/** The active devices of one store. */
export class ThinDevices {
  constructor(
    readonly names: DeviceNames,
    readonly pool: Pool,
    /** Whether a busy device may go later. */
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

  /** Activates a device, or leaves one that is active as it is; returns its path. */
  activate(hash: string, thin: Thin): string {
    const name = this.names.device(hash);
    if (!this.#keep(name, thin)) createDevice(name, this.#target(thin));
    return this.path(hash);
  }

  /** Whether a mapping of this name is there and can be used, after what it takes. */
  #keep(name: string, thin: Thin): boolean {
    const info = deviceInfo(name);
    if (info === undefined) return false;
    if (info.deferredRemove && trySendMessage(name, "@cancel_deferred_remove") < 0) {
      this.#waitUntilGone(name);
      return false;
    }
    const wanted = this.#target(thin);
    const [current] = info.live ? table(name) : [];
    const isSame = current !== undefined && current.length === wanted.length &&
      deviceIdOf(current) === thin.deviceId;
    if (isSame) {
      if (info.suspended) resumeDevice(name); // killed while it made a snapshot
      ensureNode(name);
      return true;
    }
    if (current !== undefined && deviceIdOf(current) === thin.deviceId) {
      reloadTable(name, wanted);
      resumeDevice(name);
      ensureNode(name);
      return true;
    }
    this.#remove(name, false); // killed between creating and loading it, or of a device that is gone
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
   * Deactivates a device; where it is busy and that is an option, when its last user closes it.
   *
   * @throws {VeneerError} `in use`, after a while, with who uses it
   */
  deactivate(hash: string, patience = this.patience): void {
    this.#remove(this.names.device(hash), this.deferredRemoval, patience);
  }

  /** The same, whatever the options: the device must be gone. */
  deactivateNow(hash: string, patience = this.patience): void {
    this.#remove(this.names.device(hash), false, patience);
  }

  #remove(name: string, deferred: boolean, patience = this.patience): void {
    if (deviceInfo(name) === undefined) return;
    const result = this.#retry(patience, () => tryRemoveDevice(name, deferred));
    if (result === -EBUSY) throw this.#busy(name, patience);
    if (result !== -ENXIO) unwrap(result, "device-mapper remove", name);
  }

  #waitUntilGone(name: string): void {
    const isGone = () => deviceInfo(name) === undefined ? 0 : -EBUSY;
    if (this.#retry(this.patience, isGone) < 0) throw this.#busy(name, this.patience);
  }

  /** Tries until something is no longer busy, or patience is at its end. */
  #retry(patience: number, attempt: () => number): number {
    const deadline = performance.now() + patience;
    for (;;) {
      const result = attempt();
      if (result !== -EBUSY || performance.now() > deadline) return result;
      sleep(PAUSE);
    }
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

  /** Runs `use` while the device has no writes in flight and its file system, if mounted, is whole. */
  whileSuspended<T>(hash: string, use: () => T): T {
    const name = this.names.device(hash);
    if (deviceInfo(name)?.live !== true) return use();
    suspendDevice(name);
    try {
      return use();
    } finally {
      resumeDevice(name);
    }
  }

  /** Lets devices go on that a killed process left suspended. */
  resumeAll(): void {
    for (const name of this.active()) {
      if (deviceInfo(name)?.suspended) resumeDevice(name);
    }
  }

  /** The names of this store's mappings, but for the pool's. */
  active(): string[] {
    return deviceNames().map(({ name }) => name)
      .filter((name) => this.names.isOwn(name) && name !== this.names.pool);
  }

  /** Deactivates by name what {@linkcode active} listed. */
  deactivateNamed(name: string, patience: number): void {
    this.#remove(name, false, patience);
  }

  /** Gives the space of a device that is to be deleted back to what the pool is made of. Best effort. */
  discard(hash: string, thin: Thin): void {
    const path = this.activate(hash, thin);
    try {
      tryDiscard(path, thin.size);
    } finally {
      this.deactivateNow(hash);
    }
  }

  /** @throws {SyscallError} ENXIO where the device is not active */
  status(hash: string): ThinStatus {
    const [first] = status(this.names.device(hash));
    const [mapped, highest] = (first?.parameters ?? "").split(" ").map(Number);
    return { mappedSectors: mapped || 0, highestMappedSector: highest || 0 };
  }
}

/** Of a thin device's table, `<pool> <device id>`. */
function deviceIdOf({ parameters }: Target): number {
  return Number(parameters.split(" ")[1]);
}
