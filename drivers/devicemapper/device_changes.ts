/**
 * Creating and deleting devices: the changes of a device set, under its lock.
 *
 * Each change is a transaction (`transactions.ts`). A new device gets the lowest free number. The
 * numbers in use are read from the records, and kept while the pool's transaction id shows that no
 * other process changed the pool. The pool may have devices without records, after a damaged record
 * was deleted. So the pool is asked before a transaction takes a number, because undoing an
 * interrupted transaction deletes the device of its number.
 *
 * A device that is too busy to be deleted stays and is recorded as deleted. The next operation of
 * this process on the set tries again, and so does every process that opens the set.
 *
 * @module
 */
import { EBUSY, EEXIST, ENODATA } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";
import { layerNotFound } from "../../lib/base/ids.ts";
import { growFileSystem, unmountBelow } from "./file_systems.ts";
import { BASE } from "./names.ts";
import type { DeviceMapperOptions } from "./options.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { BRIEF_PATIENCE, retryBusy } from "./patience.ts";
import type { Pool, PoolStatus } from "./pool.ts";
import { type DeviceRecord, MAX_DEVICE_ID, type Records } from "./records.ts";
import type { ThinDevices } from "./thin_devices.ts";
import { DeviceIdTaken, Transactions } from "./transactions.ts";

/** The parts of a set that changes use. */
export interface DeviceChangesContext {
  readonly home: Home;
  readonly pool: Pool;
  readonly records: Records;
  readonly devices: ThinDevices;
  readonly options: DeviceMapperOptions;
  /** A directory to mount file systems on while they are grown; it need not exist. */
  readonly scratch: ConfinedPath;
  readonly warn: Warn;
}

/** The options for deleting a device. */
interface Deletion {
  /** The longest wait for a busy device, in milliseconds. */
  readonly patience?: number;
  /** Whether its space was already given back. */
  readonly isDiscarded?: boolean;
}

/** The changes of one device set. */
export class DeviceChanges {
  readonly #context: DeviceChangesContext;
  readonly #pool: Pool;
  readonly #records: Records;
  readonly #devices: ThinDevices;
  readonly #transactions: Transactions;
  /** The numbers in use after a transaction. */
  #taken: { readonly transactionId: number; readonly ids: Set<number> } | undefined;
  /** Whether a device was too busy to be deleted at this process's last try. */
  #postponed = false;

  constructor(context: DeviceChangesContext) {
    this.#context = context;
    const { pool, records, devices, warn } = context;
    [this.#pool, this.#records, this.#devices] = [pool, records, devices];
    const release = (hash: string) => this.#release(hash);
    this.#transactions = new Transactions({ pool, records, release, warn });
  }

  /** A device's record. @throws {VeneerError} `not found`, `corrupt store` */
  require(hash: string): DeviceRecord {
    const record = this.#records.read(hash);
    if (record !== undefined) return record;
    throw layerNotFound(hash || "base");
  }

  /** Finishes the interrupted change of a killed process; returns the pool's status after it. */
  recover(status: PoolStatus): PoolStatus {
    if (this.#records.noted() === undefined) {
      this.#transactions.recover(status);
      return status;
    }
    this.#devices.resumeAll();
    this.#transactions.recover(status);
    return this.#pool.status();
  }

  /**
   * Makes a snapshot of a device.
   *
   * @param size in bytes; if it exceeds the origin's, the file system is grown
   */
  addSnapshot(hash: string, origin: string, size: number): void {
    const left = this.#records.tryRead(hash);
    // a deleted device with the same id that was busy until now
    if (left?.deleted) this.delete(hash, left);
    const from = this.require(origin);
    this.#withNewId((deviceId) => {
      const make = () => this.#pool.tryCreateSnapshot(deviceId, from.deviceId);
      return this.#transactions.run(hash, deviceId, (transactionId) => {
        const result = this.#devices.whileSuspended(origin, make);
        if (result === -EEXIST) throw new DeviceIdTaken(deviceId);
        unwrap(result, "device-mapper message", `create_snap ${deviceId} ${from.deviceId}`);
        const record = { deviceId, size, transactionId, initialized: false, deleted: false };
        this.#records.write(hash, record);
        if (size > from.size) this.#grow(hash, record);
      });
    });
  }

  #grow(hash: string, record: DeviceRecord): void {
    const device = this.#devices.activate(hash, record);
    try {
      growFileSystem(device, record.size, this.#context.scratch);
    } finally {
      this.#devices.deactivateNow(hash);
    }
  }

  /** Makes the base device, without a file system. */
  addBase(): DeviceRecord {
    const { options } = this.#context;
    return this.#withNewId((deviceId) =>
      this.#transactions.run(BASE, deviceId, (transactionId) => {
        const result = this.#pool.tryCreateThin(deviceId);
        if (result === -EEXIST) throw new DeviceIdTaken(deviceId);
        unwrap(result, "device-mapper message", `create_thin ${deviceId}`);
        const size = options.baseSize;
        const record = { deviceId, size, transactionId, initialized: false, deleted: false };
        this.#records.write(BASE, record);
        return record;
      })
    );
  }

  /** Calls `make` with the lowest free number. */
  #withNewId<T>(make: (deviceId: number) => T): T {
    const { id: transactionId } = this.#transactions;
    if (this.#taken?.transactionId !== transactionId) {
      this.#taken = { transactionId, ids: this.#records.deviceIds() };
    }
    const { ids } = this.#taken;
    for (let deviceId = 1; deviceId <= MAX_DEVICE_ID; deviceId++) {
      if (ids.has(deviceId)) continue;
      if (this.#pool.has(deviceId)) {
        ids.add(deviceId);
        continue;
      }
      try {
        const result = make(deviceId);
        ids.add(deviceId);
        this.#taken = { transactionId: this.#transactions.id, ids };
        return result;
      } catch (error) {
        if (!(error instanceof DeviceIdTaken)) throw error;
        ids.add(deviceId);
      }
    }
    throw new VeneerError(
      "limit exceeded",
      `pool ${this.#pool.name} has no free device number`,
    );
  }

  /**
   * Begins to delete a device that was retired. Returns its path, so that the caller can give its
   * space back, which takes long and needs no lock. `undefined` if the device is busy, which
   * {@linkcode deleteRetired} reports later, or if options keep the space.
   */
  activateToDiscard(hash: string): string | undefined {
    const record = this.#records.tryRead(hash);
    if (!record?.deleted || !this.#context.options.discard) return undefined;
    const name = this.#devices.names.device(hash);
    try {
      this.#devices.deactivateNamed(name, 0);
      return this.#devices.activate(hash, record);
    } catch (error) {
      if (error instanceof VeneerError && error.code === "in use") return undefined;
      this.#context.warn(`the space of ${hash} was not given back: ${messageOf(error)}`);
      return undefined;
    }
  }

  /**
   * Deletes a device that was retired. A busy one is deleted later, and there is a warning.
   *
   * @param isDiscarded whether its space was given back
   */
  deleteRetired(hash: string, isDiscarded: boolean): void {
    const record = this.#records.tryRead(hash);
    if (!record?.deleted) return;
    const error = this.#deleteOrPostpone(hash, record, { isDiscarded });
    if (error) this.#context.warn(`${error.message}; layer ${hash} is deleted after that`);
  }

  #deleteOrPostpone(
    hash: string,
    record: DeviceRecord,
    how: Deletion = {},
  ): VeneerError | undefined {
    try {
      this.delete(hash, record, how);
      return undefined;
    } catch (error) {
      if (!(error instanceof VeneerError) || error.code !== "in use") throw error;
      this.#postponed = true;
      return error;
    }
  }

  /**
   * Deletes a device and its record.
   *
   * @throws {VeneerError} `in use`
   */
  delete(
    hash: string,
    record: DeviceRecord,
    { patience = this.#deletePatience(), isDiscarded = false }: Deletion = {},
  ): void {
    const { options } = this.#context;
    const name = this.#devices.names.device(hash);
    this.#devices.deactivateNamed(name, patience);
    if (options.discard && !isDiscarded) this.#discard(hash, record);
    this.#transactions.run(hash, record.deviceId, () => {
      // A check of the content may be closing the device, which it opens under another name.
      const result = retryBusy(patience, () => this.#pool.tryDelete(record.deviceId));
      if (result === -EBUSY) {
        throw new VeneerError("in use", `device ${name} is busy in the pool`);
      }
      if (result !== -ENODATA) {
        unwrap(result, "device-mapper message", `delete ${record.deviceId}`);
      }
      this.#records.remove(hash);
    });
    if (this.#taken !== undefined) {
      this.#taken.ids.delete(record.deviceId);
      this.#taken = { transactionId: this.#transactions.id, ids: this.#taken.ids };
    }
  }

  /** The longest wait for a busy device; short if deletion can be deferred. */
  #deletePatience(): number {
    const { patience } = this.#devices;
    return this.#context.options.deferredDeletion ? Math.min(patience, BRIEF_PATIENCE) : patience;
  }

  #discard(hash: string, record: DeviceRecord): void {
    try {
      this.#devices.discard(hash, record);
    } catch (error) {
      this.#context.warn(`the space of ${hash} was not given back: ${messageOf(error)}`);
    }
  }

  /** Deletes the devices that {@linkcode DeviceSet.reset} put aside. */
  deleteDiscarded(): void {
    for (const hash of this.#records.discarded()) {
      const record = this.#records.tryRead(hash);
      if (record !== undefined) this.delete(hash, record);
    }
  }

  /**
   * Drops the records of devices made by transactions that the pool has lost: the pool does not
   * have these devices.
   */
  dropLost(transactionId: number): void {
    for (const hash of [BASE, ...this.#records.ids()]) {
      const record = this.#records.tryRead(hash);
      if (record === undefined || record.transactionId <= transactionId) continue;
      this.#context.warn(
        `device ${hash || "base"} is of transaction ${record.transactionId}, which the pool, at ` +
          `${transactionId}, has lost; its record is dropped`,
      );
      this.#pool.tryDelete(record.deviceId);
      this.#records.remove(hash);
    }
  }

  /**
   * Deletes the devices that wait for deletion and are no longer busy. For the others there was a
   * warning, and `status` counts them.
   */
  collect(): void {
    this.#postponed = false;
    const discarded = this.#records.discarded();
    for (const hash of [...discarded, ...this.#records.ids()]) {
      const record = this.#records.tryRead(hash);
      if (record === undefined) continue;
      if (record.deleted || discarded.includes(hash)) {
        this.#deleteOrPostpone(hash, record, { patience: 0 });
      }
    }
  }

  /** The same, if this process has left a busy device; returns whether it had. */
  collectPostponed(): boolean {
    if (!this.#postponed) return false;
    this.collect();
    return true;
  }

  /** Takes a half-made device out of use. */
  #release(hash: string): void {
    const numbers = this.#devices.numbers(hash);
    if (numbers === undefined) return;
    unmountBelow(this.#context.home.path, numbers);
    this.#devices.deactivateNow(hash);
  }
}
