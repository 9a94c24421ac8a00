/**
 * The base device: every base layer is a snapshot of its empty file system.
 *
 * It is made once. Its record has `initialized` only after its file system is complete and its UUID
 * is recorded: a base without it, left by a crash, is removed and created again. On every start its
 * file system is compared with the record, so that another store's pool is noticed before anything
 * is written.
 *
 * @module
 */
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import { emptyRoot, growFileSystem, makeFileSystem, unmountBelow } from "./file_systems.ts";
import { BASE } from "./names.ts";
import { checkNotSmaller, type DeviceMapperOptions } from "./options.ts";
import type { Warn } from "../../lib/base/warn.ts";
import type { Pool, PoolStatus } from "./pool.ts";
import type { DeviceRecord, Records } from "./records.ts";
import { corrupt } from "./records.ts";
import { readSuperblock } from "./superblock.ts";
import type { ThinDevices } from "./thin_devices.ts";

/** The settings for creating the base device. */
export interface BaseContext {
  readonly records: Records;
  readonly devices: ThinDevices;
  readonly pool: Pool;
  readonly options: DeviceMapperOptions;
  /** A directory to mount it on while it is grown; it need not exist. */
  readonly scratch: ConfinedPath;
  /** Whether its root must be empty, without the directories that mkfs creates. */
  readonly isEmpty: boolean;
  readonly warn: Warn;
  /** Makes the thin device and its record. */
  readonly add: () => DeviceRecord;
  readonly remove: (record: DeviceRecord) => void;
}

/** The base device of one store. Callers hold the lock of the store's devices. */
export class BaseDevice {
  readonly #context: BaseContext;

  constructor(context: BaseContext) {
    this.#context = context;
  }

  /**
   * Makes it, unless it is complete.
   *
   * @throws {VeneerError} `corrupt store` if its record is damaged, or if it is missing and layers
   * are recorded
   */
  ensure(): void {
    const { records, devices, options, remove, add, isEmpty, scratch } = this.#context;
    const found = records.read(BASE);
    if (found?.initialized) return;
    if (found !== undefined) {
      this.#putAside();
      remove(found);
    } else if (records.readSet()?.baseUuid && records.ids().length > 0) {
      throw corrupt(records.path(BASE).text, "is missing, and layers are recorded");
    }
    const record = add();
    const device = devices.activate(BASE, record);
    try {
      makeFileSystem(options.fileSystem, device, options.mkfsArguments);
      if (isEmpty) emptyRoot(options.fileSystem, device, scratch);
      this.#record(device);
    } finally {
      devices.deactivateNow(BASE);
    }
    records.write(BASE, { ...record, initialized: true });
  }

  /** Records the file system on a device. */
  #record(device: string): void {
    const { records } = this.#context;
    const found = readSuperblock(device);
    if (found === undefined) {
      throw new VeneerError("failed", `mkfs left no known file system on ${device}`);
    }
    records.writeSet({
      nextDeviceId: records.readSet()?.nextDeviceId ?? 0,
      baseUuid: found.uuid,
      baseFileSystem: found.type,
    });
  }

  /**
   * Compares the base with its record, at a start. Grows the base if an option asks for that.
   *
   * @throws {VeneerError} `incompatible` if the pool belongs to another store, `corrupt store` if
   * the pool has devices and all records are missing
   */
  verify(status: PoolStatus): void {
    const { records } = this.#context;
    this.#putAside();
    if (!records.has(BASE)) return this.#checkUnused(status);
    const record = records.tryRead(BASE);
    if (record === undefined) return; // It is damaged, which operations that need the base report.
    if (record.initialized) this.#verify(record);
  }

  /**
   * Unmounts and deactivates the base. It is used only under the lock, so if it is active or
   * mounted, a killed process or its mkfs left it so.
   */
  #putAside(): void {
    const { devices, scratch } = this.#context;
    const numbers = devices.numbers(BASE);
    if (numbers === undefined) return;
    try {
      unmountBelow(scratch.parent.text, numbers);
      devices.deactivateNow(BASE);
    } catch (error) {
      this.#context.warn(messageOf(error));
    }
  }

  /**
   * Refuses a pool with devices if the store has no records. A pool named in options may be given
   * to other stores as well: the base device marks it as this store's, so it is created at once.
   */
  #checkUnused({ transactionId, usedData }: PoolStatus): void {
    const { records, pool, options } = this.#context;
    const isGiven = options.thinPool !== undefined;
    const set = records.readSet();
    if (records.ids().length > 0 || (isGiven ? set?.baseUuid : set)) return;
    if (transactionId === 0 && (usedData === 0 || !isGiven)) {
      // This records that the pool was empty when the store was made.
      records.writeSet({ nextDeviceId: 0, baseUuid: "", baseFileSystem: "" });
      if (isGiven) this.ensure();
      return;
    }
    const has =
      `pool ${pool.name} is at transaction ${transactionId} and has ${usedData} used blocks`;
    throw !isGiven
      ? new VeneerError(
        "corrupt store",
        `${has}, and ${records.directory} records no device; restore the records from a copy, or remove ` +
          "the pool's images to start again",
      )
      : new VeneerError(
        "incompatible",
        `${has}: it is in use by something else; give dm.thinpooldev a new pool`,
      );
  }

  #verify(record: DeviceRecord): void {
    const { records, devices, pool, options, warn } = this.#context;
    const set = records.readSet();
    const device = devices.activate(BASE, record);
    try {
      const found = readSuperblock(device);
      if (found === undefined) {
        throw new VeneerError(
          "incompatible",
          `the base device in pool ${pool.name} has no file system: is it the pool of another store?`,
        );
      }
      if (set?.baseUuid && set.baseUuid !== found.uuid) {
        throw new VeneerError(
          "incompatible",
          `the base device in pool ${pool.name} has UUID ${found.uuid}, and ${set.baseUuid} is recorded: ` +
            "is it the pool of another store?",
        );
      }
      if (set?.baseFileSystem && set.baseFileSystem !== found.type) {
        throw new VeneerError(
          "incompatible",
          `the base device in pool ${pool.name} has ${found.type}, and ${set.baseFileSystem} is recorded`,
        );
      }
      if (!set?.baseUuid || !set.baseFileSystem) this.#record(device);
      if (options.fileSystemGiven && options.fileSystem !== found.type) {
        warn(`the base device has ${found.type}; dm.fs=${options.fileSystem} is for a new store`);
      }
      this.#grow(record);
    } finally {
      devices.deactivateNow(BASE);
    }
  }

  /**
   * Grows the base to `dm.basesize`: first the record of the device's size, then the device and the
   * file system. If it is interrupted, the next start with that option continues.
   */
  #grow(record: DeviceRecord): void {
    const { records, devices, options, scratch } = this.#context;
    if (!options.growBase) return;
    checkNotSmaller(options.baseSize, record.size, "dm.basesize");
    const grown = { ...record, size: options.baseSize };
    if (grown.size > record.size) records.write(BASE, grown);
    growFileSystem(devices.activate(BASE, grown), grown.size, scratch);
  }
}
