/**
 * A device set: the thin devices of a store, recorded and in the pool, one for each layer and one that is
 * the base of all.
 *
 * Several processes use one set at once. Every public method takes the lock of the set's devices, the last
 * in the order of locks (`run_state.ts`), and looks at the pool and at the note of an open transaction anew;
 * records are read when they are needed, and nothing of them is kept, but for the numbers in use, which
 * hold as long as the pool's transaction id does. The pool is brought up by the first call that needs it.
 *
 * @module
 */
import { EBUSY, EEXIST } from "../../ffi/errno.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { messageOf, VeneerError } from "../../lib/errors.ts";
import type { Home } from "../../lib/home.ts";
import { layerNotFound } from "../../lib/ids.ts";
import type { RunState } from "../../lib/run_state.ts";
import { sleep } from "../../lib/sleep.ts";
import { BaseDevice } from "./base_device.ts";
import { growFileSystem, mountDevice, unmountBelow } from "./file_systems.ts";
import { checkFreeSpace } from "./free_space.ts";
import { importLegacy } from "./legacy.ts";
import { BASE, DeviceNames, DISCARDED_SUFFIX } from "./names.ts";
import { checkNotSmaller, type DeviceMapperOptions } from "./options.ts";
import { Pool, type PoolStatus } from "./pool.ts";
import { setUpPool } from "./pool_setup.ts";
import { type DeviceRecord, MAX_DEVICE_ID, Records } from "./records.ts";
import { PATIENCE, ThinDevices, type ThinStatus } from "./thin_devices.ts";
import { DeviceIdTaken, Transactions } from "./transactions.ts";
import { umount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";

/** What a set is opened with. */
export interface DeviceSetContext {
  readonly home: Home;
  readonly state: RunState;
  readonly options: DeviceMapperOptions;
  readonly warn: (message: string) => void;
  /** How long a busy device is waited for, in milliseconds. */
  readonly patience?: number;
}

/** A device of the set, as {@linkcode DeviceSet.describe} tells. */
export interface Device extends DeviceRecord {
  /** In device-mapper. */
  readonly name: string;
}

/** What {@linkcode DeviceSet.status} tells. */
export interface DeviceSetStatus {
  readonly poolName: string;
  /** In bytes. */
  readonly blockSize: number;
  readonly pool: PoolStatus;
  /** `major:minor` of the pool's devices. */
  readonly data: string;
  readonly metadata: string;
  readonly base: DeviceRecord | undefined;
  readonly baseFileSystem: string;
  /** Devices that wait for their deletion. */
  readonly deleted: number;
}

/** The devices of one store. */
export class DeviceSet {
  readonly names: DeviceNames;
  readonly records: Records;
  readonly pool: Pool;
  readonly #context: DeviceSetContext;
  readonly #devices: ThinDevices;
  readonly #transactions: Transactions;
  readonly #base: BaseDevice;
  #started = false;
  #taken: { readonly transactionId: number; readonly ids: Set<number> } | undefined;

  constructor(context: DeviceSetContext) {
    const { home, options, warn } = this.#context = context;
    this.names = new DeviceNames(home);
    this.records = new Records(home.join("metadata"));
    this.pool = new Pool(options.thinPool ?? this.names.pool);
    this.#devices = new ThinDevices(
      this.names,
      this.pool,
      options.deferredRemoval,
      context.patience ?? PATIENCE,
    );
    this.#transactions = new Transactions({
      pool: this.pool,
      records: this.records,
      release: (hash) => this.#release(hash),
      warn,
    });
    this.#base = new BaseDevice({
      records: this.records,
      devices: this.#devices,
      pool: this.pool,
      options,
      scratch: this.#scratch,
      warn,
      add: () => this.#addBase(),
      remove: (record) => this.#delete(BASE, record),
    });
  }

  /** Brings the pool up and the records in order, where that was not done. */
  start(): void {
    this.#session(() => {});
  }

  /**
   * Makes a device: a snapshot of another, or of the base.
   *
   * @param size in bytes; its origin's where left out. A larger one has its file system grown.
   * @throws {VeneerError} `limit exceeded` where the pool has too little room, `invalid argument` for a size
   * below the origin's, `corrupt store` where the origin's record is damaged
   */
  add(hash: string, origin: string, size?: number): void {
    this.#session((status) => {
      checkFreeSpace(this.pool, status, this.#context.options.minFreeSpace);
      if (origin === BASE) this.#base.ensure();
      const from = this.#require(origin);
      if (size !== undefined) checkNotSmaller(size, from.size, "size");
      this.#addSnapshot(hash, origin, size ?? from.size);
    });
  }

  #addSnapshot(hash: string, origin: string, size: number): void {
    const from = this.#require(origin);
    this.#withNewId((deviceId) => {
      const make = () => this.pool.tryCreateSnapshot(deviceId, from.deviceId);
      return this.#transactions.run(hash, deviceId, (transactionId) => {
        const result = this.#devices.whileSuspended(origin, make);
        if (result === -EEXIST) throw new DeviceIdTaken(deviceId);
        unwrap(result, "device-mapper message", `create_snap ${deviceId} ${from.deviceId}`);
        const record = { deviceId, size, transactionId, initialized: false, deleted: false };
        this.records.write(hash, record);
        if (size > from.size) this.#grow(hash, record);
      });
    });
  }

  #grow(hash: string, record: DeviceRecord): void {
    const device = this.#devices.activate(hash, record);
    try {
      growFileSystem(device, record.size, this.#scratch);
    } finally {
      this.#devices.deactivateNow(hash);
    }
  }

  /** Where file systems are mounted to be grown, one at a time; no layer has this name. */
  get #scratch(): string {
    return this.#context.home.join("mnt", ".grow");
  }

  #addBase(): DeviceRecord {
    const { options } = this.#context;
    return this.#withNewId((deviceId) =>
      this.#transactions.run(BASE, deviceId, (transactionId) => {
        const result = this.pool.tryCreateThin(deviceId);
        if (result === -EEXIST) throw new DeviceIdTaken(deviceId);
        unwrap(result, "device-mapper message", `create_thin ${deviceId}`);
        const size = options.baseSize;
        const record = { deviceId, size, transactionId, initialized: false, deleted: false };
        this.records.write(BASE, record);
        return record;
      })
    );
  }

  /**
   * Makes something under the lowest free number. The pool may know of numbers that no record has; those are
   * passed over.
   */
  #withNewId<T>(make: (deviceId: number) => T): T {
    const { id: transactionId } = this.#transactions;
    if (this.#taken?.transactionId !== transactionId) {
      this.#taken = { transactionId, ids: this.records.deviceIds() };
    }
    const { ids } = this.#taken;
    for (let deviceId = 1; deviceId <= MAX_DEVICE_ID; deviceId++) {
      if (ids.has(deviceId)) continue;
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
    throw new VeneerError("limit exceeded", `pool ${this.pool.name} has no free device number`);
  }

  /**
   * Says that a device is to be deleted: from then on it is not there for anyone.
   *
   * @throws {VeneerError} `in use` where it is busy and deletion is not deferred
   */
  retire(hash: string): void {
    this.#session(() => {
      const record = this.#require(hash);
      if (!this.#context.options.deferredDeletion) this.#devices.deactivateNow(hash);
      this.records.write(hash, { ...record, deleted: true });
    });
  }

  /** Deletes a device that was retired; one that is busy is deleted later, by whoever opens the store. */
  dispose(hash: string): void {
    this.#settle(hash);
    if (this.records.tryRead(hash)?.deleted) this.#session(() => this.#deleteRetired(hash));
  }

  /** Deletes a device. @throws {VeneerError} `in use`, `not found` */
  remove(hash: string): void {
    this.retire(hash);
    this.dispose(hash);
  }

  #deleteRetired(hash: string): void {
    const record = this.records.tryRead(hash);
    if (record === undefined || !record.deleted) return;
    try {
      this.#delete(hash, record);
    } catch (error) {
      if (!(error instanceof VeneerError) || error.code !== "in use") throw error;
      this.#context.warn(`${error.message}; it is deleted then`);
    }
  }

  /** Deletes a device and its record. */
  #delete(hash: string, record: DeviceRecord): void {
    const { options } = this.#context;
    if (options.deferredDeletion && this.#devices.isActive(hash)) this.#devices.deactivate(hash);
    if (options.deferredDeletion && this.#devices.isActive(hash)) {
      throw new VeneerError("in use", `device ${this.names.device(hash)} goes with its last user`);
    }
    this.#devices.deactivateNow(hash);
    if (options.discard) this.#discard(hash, record);
    this.#transactions.run(hash, record.deviceId, () => {
      const result = this.pool.tryDelete(record.deviceId);
      if (result === -EBUSY) {
        throw new VeneerError("in use", `device ${this.names.device(hash)} is busy in the pool`);
      }
      const ENODATA = 61;
      if (result !== -ENODATA) {
        unwrap(result, "device-mapper message", `delete ${record.deviceId}`);
      }
      this.records.remove(hash);
    });
    if (this.#taken !== undefined) {
      this.#taken.ids.delete(record.deviceId);
      this.#taken = { transactionId: this.#transactions.id, ids: this.#taken.ids };
    }
  }

  #discard(hash: string, record: DeviceRecord): void {
    try {
      this.#devices.discard(hash, record);
    } catch (error) {
      this.#context.warn(`the space of ${hash} was not given back: ${messageOf(error)}`);
    }
  }

  /**
   * Gives a device the content of another, as {@linkcode add} made it: a second snapshot takes its place in
   * one rename, and the first is deleted.
   */
  reset(hash: string, origin: string): void {
    const discarded = hash + DISCARDED_SUFFIX;
    this.#session((status) => {
      checkFreeSpace(this.pool, status, this.#context.options.minFreeSpace);
      if (origin === BASE) this.#base.ensure();
      const record = this.#require(hash);
      this.#devices.deactivateNow(hash);
      this.#deleteDiscarded();
      this.#addSnapshot(discarded, origin, record.size);
      this.records.exchange(hash, discarded);
      this.#deleteDiscarded();
    });
  }

  #deleteDiscarded(): void {
    for (const hash of this.records.discarded()) {
      const record = this.records.tryRead(hash);
      if (record !== undefined) this.#delete(hash, record);
    }
  }

  /** The path of a device's node while it is active. */
  path(hash: string): string {
    return this.#devices.path(hash);
  }

  /** Activates a device, to be written to or not; returns its node's path. */
  activate(hash: string, access: "read" | "write" = "write"): string {
    return this.#session(() => {
      const record = this.#require(hash);
      if (access === "write" && !record.initialized) {
        this.records.write(hash, { ...record, initialized: true });
      }
      return this.#devices.activate(hash, record);
    });
  }

  /**
   * Deactivates a device, now or, where options say so, when its last user closes it.
   *
   * @param patience how long a busy one is waited for, in milliseconds
   */
  deactivate(hash: string, patience?: number): void {
    this.#session(() => this.#devices.deactivate(hash, patience));
  }

  /** Activates a device and mounts it. */
  mount(hash: string, target: string, { readOnly = false, label }: MountRequest = {}): void {
    const device = this.activate(hash, readOnly ? "read" : "write");
    const { mountOptions: options } = this.#context.options;
    mountDevice(device, target, { fileSystem: this.fileSystem(), readOnly, options, label });
  }

  /** Unmounts a device and deactivates it, unless it is to be kept active. */
  unmount(hash: string, target: string, { keepActive = false } = {}): void {
    umount(target, UMOUNT_NOFOLLOW);
    if (!keepActive) this.deactivate(hash);
  }

  /** Whether there is a device, that is not to be deleted. Damaged records are of devices, too. */
  has(hash: string): boolean {
    this.#settle(hash);
    if (!this.records.has(hash)) return false;
    return this.records.tryRead(hash)?.deleted !== true;
  }

  /** The hashes of every device but the base. */
  list(): string[] {
    const note = this.#noted();
    if (note !== undefined && this.records.has(note)) this.#settle(note);
    return this.records.ids().filter((hash) => this.records.tryRead(hash)?.deleted !== true);
  }

  isActivated(hash: string): boolean {
    return this.#devices.isActive(hash);
  }

  /** Whether it was mounted for writing since it was made, or, the base, has its file system. */
  isInitialized(hash: string): boolean {
    return this.#require(hash).initialized;
  }

  setInitialized(hash: string): void {
    if (this.isInitialized(hash)) return;
    this.#session(() => {
      const record = this.#require(hash);
      this.records.write(hash, { ...record, initialized: true });
    });
  }

  /** What is recorded of a device. @throws {VeneerError} `not found`, `corrupt store` */
  describe(hash: string): Device {
    return { ...this.#require(hash), name: this.names.device(hash) };
  }

  /** How much space a device has; `undefined` where it is not active. */
  usage(hash: string): ThinStatus | undefined {
    return this.#session(() =>
      this.#devices.isActive(hash) ? this.#devices.status(hash) : undefined
    );
  }

  /** The file system that every device has. */
  fileSystem(): string {
    return this.records.readSet()?.baseFileSystem || this.#context.options.fileSystem;
  }

  status(): DeviceSetStatus {
    return this.#session((pool) => {
      const { data, metadata, blockSize } = this.pool.table();
      return {
        poolName: this.pool.name,
        blockSize: blockSize * 512,
        pool,
        data,
        metadata,
        base: this.records.tryRead(BASE),
        baseFileSystem: this.fileSystem(),
        deleted: this.records.ids().filter((id) => this.records.tryRead(id)?.deleted).length,
      };
    });
  }

  /** Deactivates every device and takes the pool down, but for one that was given. */
  shutdown(): void {
    using _lock = this.#lock();
    this.#started = false;
    for (const name of this.#devices.active()) {
      try {
        this.#devices.deactivateNamed(name);
      } catch (error) {
        this.#context.warn(messageOf(error));
      }
    }
    if (this.#context.options.thinPool !== undefined) return;
    if (this.#devices.active().length > 0) return;
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const result = this.pool.tryRemove();
      if (result !== -EBUSY || performance.now() > deadline) break;
      sleep(20);
    }
  }

  #lock(): Disposable {
    return this.#context.state.lockNamed("devices", "the device set");
  }

  /** Runs `use` under the lock, with the pool up and nothing half done. */
  #session<T>(use: (status: PoolStatus) => T): T {
    using _lock = this.#lock();
    return use(this.#start());
  }

  /** Brings to its end an interrupted transaction that is about this device. */
  #settle(hash: string): void {
    if (this.#noted() === hash) this.#session(() => {});
  }

  /** The device that the note of a transaction is about. */
  #noted(): string | undefined {
    try {
      return this.records.readTransaction()?.hash;
    } catch {
      return undefined; // Whoever changes something is told.
    }
  }

  #start(): PoolStatus {
    const running = this.#started ? this.pool.tryStatus() : undefined;
    if (running !== undefined) {
      if (this.#noted() !== undefined) this.#devices.resumeAll();
      this.#transactions.recover(running);
      return this.#transactions.id === running.transactionId ? running : this.pool.status();
    }
    const { home, options, warn } = this.#context;
    const hasRecords = this.records.ids().length > 0 || this.records.has(BASE);
    setUpPool({ pool: this.pool, home, options, hasRecords, warn });
    const status = this.pool.status();
    this.records.sweep();
    importLegacy(home.join("devicemapper"), this.records, status.transactionId);
    this.#devices.resumeAll();
    this.#transactions.recover(status);
    this.#dropLost(status.transactionId);
    this.#base.verify(status);
    this.#started = true;
    this.#collect();
    return this.pool.status();
  }

  /** Drops devices of transactions that the pool never reached: they are not in it. */
  #dropLost(transactionId: number): void {
    for (const hash of [BASE, ...this.records.ids()]) {
      const record = this.records.tryRead(hash);
      if (record === undefined || record.transactionId <= transactionId) continue;
      this.#context.warn(
        `device ${hash || "base"} is of transaction ${record.transactionId}, which the pool, at ` +
          `${transactionId}, has lost; its record is dropped`,
      );
      this.pool.tryDelete(record.deviceId);
      this.records.remove(hash);
    }
  }

  /** Deletes what is waiting for it. */
  #collect(): void {
    this.#deleteDiscarded();
    for (const hash of this.records.ids()) {
      if (this.records.tryRead(hash)?.deleted) this.#deleteRetired(hash);
    }
  }

  /** Takes a half-made device out of use. */
  #release(hash: string): void {
    const numbers = this.#devices.numbers(hash);
    if (numbers === undefined) return;
    unmountBelow(this.#context.home.path, numbers);
    this.#devices.deactivateNow(hash);
  }

  #require(hash: string): DeviceRecord {
    const record = this.records.read(hash);
    if (record !== undefined) return record;
    throw layerNotFound(hash || "base");
  }
}

/** How {@linkcode DeviceSet.mount} mounts. */
export interface MountRequest {
  readonly readOnly?: boolean;
  readonly label?: string;
}
