/**
 * A device set: the thin devices of a store in the pool, with their records. There is one for each
 * layer, and the base device.
 *
 * Several processes may use one set at the same time. Methods that use the pool or change records
 * take the lock of the set's devices, which is the last in the order of locks (`run_state.ts`), and
 * read the pool's status and the note of an open transaction again. Records are read from disk for
 * each use. The first call that needs the pool brings it up.
 *
 * Docker's daemon takes no such lock. It keeps the pool's transaction id and the numbers of devices
 * in its memory, and fails if they change. While it runs on the store, changes of the pool or of
 * records are refused, and interrupted transactions and deletions are left alone, because they
 * could be the daemon's. Devices can be activated and read.
 *
 * @module
 */
import { tryDiscard } from "../../ffi/block.ts";
import { SECTOR_SIZE } from "../../ffi/devmapper.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import { unmountUnused } from "../../lib/mount/unmount.ts";
import type { Home } from "../../lib/store/home.ts";
import type { RunState } from "../../lib/store/run_state.ts";
import { BaseDevice } from "./base_device.ts";
import { mountDevice } from "./file_systems.ts";
import { DeviceChanges } from "./device_changes.ts";
import { checkFreeSpace, checkWritable } from "./free_space.ts";
import { importLegacy } from "./legacy.ts";
import { BASE, DeviceNames, DISCARDED_SUFFIX } from "./names.ts";
import { checkNotSmaller, type DeviceMapperOptions } from "./options.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { BRIEF_PATIENCE, PATIENCE, retryBusy } from "./patience.ts";
import { Pool, type PoolStatus } from "./pool.ts";
import { setUpPool } from "./pool_setup.ts";
import { type DeviceRecord, Records } from "./records.ts";
import { ThinDevices, type ThinStatus } from "./thin_devices.ts";

/** The settings of a set. */
export interface DeviceSetContext {
  readonly home: Home;
  readonly state: RunState;
  readonly options: DeviceMapperOptions;
  /** Whether a new base device gets an empty root. */
  readonly hasEmptyBase?: boolean;
  readonly warn: Warn;
  /** The longest wait for a busy device, in milliseconds. */
  readonly patience?: number;
  /**
   * Returns the name, for messages, of the Docker daemon that runs on the store; `undefined` if
   * none does.
   */
  readonly daemon?: () => string | undefined;
}

/** A device of the set, as {@linkcode DeviceSet.describe} returns it. */
export interface Device extends DeviceRecord {
  /** Its name in device-mapper. */
  readonly name: string;
}

/** The result of {@linkcode DeviceSet.status}. */
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
  /** The number of devices that wait for their deletion. */
  readonly deleted: number;
}

/** The devices of one store. */
export class DeviceSet {
  readonly names: DeviceNames;
  readonly records: Records;
  readonly pool: Pool;
  readonly #context: DeviceSetContext;
  readonly #devices: ThinDevices;
  readonly #changes: DeviceChanges;
  readonly #base: BaseDevice;
  #started = false;
  /** The daemon that the last search found on the store; `null` before the first search. */
  #daemon: string | undefined | null = null;

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
    // No layer has this name, and the lock allows only one file system to be grown at a time.
    const scratch = home.join("mnt", ".grow");
    const { records, pool } = this, devices = this.#devices;
    this.#changes = new DeviceChanges({ home, pool, records, devices, options, scratch, warn });
    this.#base = new BaseDevice({
      records,
      devices,
      pool,
      options,
      scratch,
      isEmpty: context.hasEmptyBase === true,
      warn,
      add: () => this.#changes.addBase(),
      remove: (record) => this.#changes.delete(BASE, record),
    });
  }

  /**
   * Requires that no Docker daemon runs on the store; searches again for one.
   *
   * @throws {VeneerError} `in use` with the daemon's name
   */
  requireSole(): void {
    this.#look();
    this.#requireNoDaemon();
  }

  /** Whether the last search found Docker's daemon on the store. */
  get isBesideDaemon(): boolean {
    return (this.#daemon === null ? this.#look() : this.#daemon) !== undefined;
  }

  #look(): string | undefined {
    return this.#daemon = this.#context.daemon?.();
  }

  #requireNoDaemon(): void {
    if (!this.isBesideDaemon) return;
    throw new VeneerError(
      "in use",
      `${this.#daemon} runs on this store and keeps the state of pool ${this.pool.name} in its ` +
        "memory; stop it first, or make the change by docker",
    );
  }

  /** Brings the pool up and finishes interrupted changes. */
  start(): void {
    this.#session(() => {});
  }

  /**
   * Makes a device: a snapshot of another, or of the base.
   *
   * @param size in bytes; by default the origin's. If it is larger, the file system is grown.
   * @throws {VeneerError} `limit exceeded` if the pool has too little room, `invalid argument` for
   * a size below the origin's, `corrupt store` if the origin's record is damaged
   */
  add(hash: string, origin: string, size?: number): void {
    this.#change((status) => {
      checkFreeSpace(this.pool, status, this.#context.options.minFreeSpace);
      if (origin === BASE) this.#base.ensure();
      const from = this.#changes.require(origin);
      if (size !== undefined) checkNotSmaller(size, from.size, "size");
      this.#changes.addSnapshot(hash, origin, size ?? from.size);
    });
  }

  /**
   * Marks a device as deleted. From then on every lookup treats it as absent.
   *
   * @throws {VeneerError} `in use` if it is busy and deletion is not deferred
   */
  retire(hash: string): void {
    this.#change(() => {
      const record = this.#changes.require(hash);
      if (!this.#context.options.deferredDeletion) this.#devices.deactivateNow(hash);
      this.records.write(hash, { ...record, deleted: true });
    });
  }

  /**
   * Deletes a device that was retired. A busy one is deleted by a later operation or when the store
   * is opened again.
   */
  dispose(hash: string): void {
    this.#finishTransactionOf(hash);
    const record = this.records.tryRead(hash);
    if (!record?.deleted) return;
    const isDiscarded = this.#discard(hash, record);
    this.#change(() => this.#changes.deleteRetired(hash, isDiscarded));
  }

  /**
   * Gives the space of a retired device back, without the lock, so that other processes need not
   * wait. Best effort.
   */
  #discard(hash: string, { size }: DeviceRecord): boolean {
    const path = this.#change(() => this.#changes.activateToDiscard(hash));
    if (path === undefined) return false;
    try {
      tryDiscard(path, size);
    } catch (error) {
      this.#context.warn(`the space of ${hash} was not given back: ${messageOf(error)}`);
    }
    return true;
  }

  /** Deletes a device. @throws {VeneerError} `in use`, `not found` */
  remove(hash: string): void {
    this.retire(hash);
    this.dispose(hash);
  }

  /**
   * Gives a device the content of its origin again: a new snapshot takes its place by one rename,
   * and the old device is deleted. Works in a nearly full pool, too.
   */
  reset(hash: string, origin: string): void {
    const discarded = hash + DISCARDED_SUFFIX;
    this.#change((status) => {
      checkWritable(this.pool, status);
      if (origin === BASE) this.#base.ensure();
      const record = this.#changes.require(hash);
      this.#devices.deactivateNow(hash);
      this.#changes.deleteDiscarded();
      this.#changes.addSnapshot(discarded, origin, record.size);
      this.records.exchange(hash, discarded);
      this.#changes.deleteDiscarded();
    });
  }

  /** The path of a device's node while it is active. */
  path(hash: string): string {
    return this.#devices.path(hash);
  }

  /** Activates a device for reading or for writing, too; returns the path of its node. */
  activate(hash: string, access: "read" | "write" = "write"): string {
    return this.#session(() => {
      const record = this.#changes.require(hash);
      if (access === "write") {
        this.#requireNoDaemon();
        if (!record.initialized) this.records.write(hash, { ...record, initialized: true });
      }
      return this.#devices.activate(hash, record, { isShared: this.isBesideDaemon });
    });
  }

  /**
   * Deactivates a device at once. With deferred removal, a busy one is deactivated when its last
   * user closes it.
   *
   * @param patience the longest wait for a busy device, in milliseconds
   */
  deactivate(hash: string, patience?: number): void {
    this.#session(() =>
      this.isBesideDaemon
        ? this.#devices.deactivateShared(hash, patience)
        : this.#devices.deactivate(hash, patience)
    );
  }

  /** Activates a device and mounts it. */
  mount(hash: string, target: string, { readOnly = false, label }: MountRequest = {}): void {
    const device = this.activate(hash, readOnly ? "read" : "write");
    const { mountOptions: options } = this.#context.options;
    mountDevice(device, target, { fileSystem: this.fileSystem(), readOnly, options, label });
  }

  /** Unmounts a device and deactivates it, unless it is to be kept active. */
  unmount(hash: string, target: string, { keepActive = false } = {}): void {
    unmountUnused(target);
    if (!keepActive) this.deactivate(hash);
  }

  /**
   * Whether a device exists and does not wait for its deletion. A damaged record counts as a
   * device.
   */
  has(hash: string): boolean {
    this.#finishTransactionOf(hash);
    if (!this.records.has(hash)) return false;
    return this.records.tryRead(hash)?.deleted !== true;
  }

  /** The hashes of all devices except the base. */
  list(): string[] {
    const note = this.records.noted();
    if (note !== undefined && this.records.has(note)) this.#finishTransactionOf(note);
    return this.records.ids().filter((hash) => this.records.tryRead(hash)?.deleted !== true);
  }

  isActivated(hash: string): boolean {
    return this.#devices.isActive(hash);
  }

  /** `major:minor` of a device; `undefined` if it is not active. */
  deviceNumber(hash: string): string | undefined {
    return this.#devices.numbers(hash);
  }

  /**
   * Whether a device was activated for writing since it was made; of the base, whether it has its
   * file system.
   */
  isInitialized(hash: string): boolean {
    return this.#changes.require(hash).initialized;
  }

  setInitialized(hash: string): void {
    if (this.isInitialized(hash)) return;
    this.#change(() => {
      const record = this.#changes.require(hash);
      this.records.write(hash, { ...record, initialized: true });
    });
  }

  /** The record of a device. @throws {VeneerError} `not found`, `corrupt store` */
  describe(hash: string): Device {
    return { ...this.#changes.require(hash), name: this.names.device(hash) };
  }

  /** The space of a device; `undefined` if the device is not active. */
  usage(hash: string): ThinStatus | undefined {
    return this.#session(() => this.#devices.status(hash));
  }

  /** The type of every device's file system, which is the base's. */
  fileSystem(): string {
    // Old stores do not record it; then a start reads it from the base.
    if (!this.records.readSet()?.baseFileSystem) this.start();
    return this.#recordedFileSystem();
  }

  #recordedFileSystem(): string {
    return this.records.readSet()?.baseFileSystem || this.#context.options.fileSystem;
  }

  status(): DeviceSetStatus {
    return this.#session((pool) => {
      const { data, metadata, blockSize } = this.pool.table();
      return {
        poolName: this.pool.name,
        blockSize: blockSize * SECTOR_SIZE,
        pool,
        data,
        metadata,
        base: this.records.tryRead(BASE),
        baseFileSystem: this.#recordedFileSystem(),
        deleted: this.records.discarded().length +
          this.records.ids().filter((id) => this.records.tryRead(id)?.deleted).length,
      };
    });
  }

  /**
   * Deactivates all devices and takes the pool down, unless the pool was given in options. With
   * deferred removal, the kernel removes busy devices after their last use, and then the pool and
   * the images' loop devices.
   */
  shutdown(): void {
    this.requireSole();
    using _lock = this.#lock();
    const { thinPool, deferredRemoval } = this.#context.options;
    this.#started = false;
    for (const name of this.#devices.active()) {
      try {
        this.#devices.deactivateNamed(name, BRIEF_PATIENCE);
      } catch (error) {
        this.#context.warn(
          messageOf(error) + (deferredRemoval ? "; it is removed after that" : ""),
        );
      }
    }
    if (thinPool !== undefined) return;
    const isBusy = this.#devices.active().length > 0;
    if (isBusy && !deferredRemoval) return;
    retryBusy(PATIENCE, () => this.pool.tryRemove(isBusy));
  }

  /**
   * Runs `use` under the lock, with the pool up and no interrupted change: for operations without
   * their own method.
   */
  exclusively<T>(use: (devices: ThinDevices) => T): T {
    return this.#session(() => use(this.#devices));
  }

  /**
   * Runs `use` while no other process of Veneer reads the pool's metadata. The set can be changed
   * meanwhile.
   */
  readingMetadata<T>(use: () => T): T {
    using _lock = this.#context.state.lockNamed("metadata", "the pool's metadata");
    return use();
  }

  #lock(): Disposable {
    return this.#context.state.lockNamed("devices", "the device set");
  }

  /** Runs `use` under the lock, with the pool up and no interrupted change. */
  #session<T>(use: (status: PoolStatus) => T): T {
    using _lock = this.#lock();
    return use(this.#start());
  }

  /**
   * The same for changes of the pool or of a record.
   *
   * @throws {VeneerError} `in use` while Docker's daemon runs
   */
  #change<T>(use: (status: PoolStatus) => T): T {
    return this.#session((status) => {
      this.#requireNoDaemon();
      return use(status);
    });
  }

  /** Finishes an interrupted transaction of this device. */
  #finishTransactionOf(hash: string): void {
    if (this.records.noted() === hash) this.#session(() => {});
  }

  #start(): PoolStatus {
    const daemon = this.#started && !this.isBesideDaemon ? undefined : this.#look();
    if (daemon !== undefined) return this.#statusBeside(daemon);
    const running = this.#started && this.pool.stays() ? this.pool.tryStatus() : undefined;
    if (running !== undefined) {
      const status = this.#changes.recover(running);
      return this.#changes.collectPostponed() ? this.pool.status() : status;
    }
    const { home, options, warn } = this.#context;
    const hasRecords = this.records.ids().length > 0 || this.records.has(BASE);
    setUpPool({ pool: this.pool, home, options, hasRecords, warn });
    const status = this.pool.status();
    this.records.sweep();
    importLegacy(home.join("devicemapper"), this.records, status.transactionId);
    this.#devices.resumeAll();
    this.#changes.recover(status);
    this.#changes.dropLost(status.transactionId);
    this.#base.verify(status);
    this.#started = true;
    this.#changes.collect();
    return this.pool.status();
  }

  /**
   * The status of the pool that Docker's daemon uses. Nothing is brought up, resized or repaired.
   */
  #statusBeside(daemon: string): PoolStatus {
    const status = this.pool.tryStatus();
    if (status !== undefined) return status;
    throw new VeneerError(
      "in use",
      `${daemon} runs on this store, and pool ${this.pool.name} is not up yet; try again`,
    );
  }
}

/** The options of {@linkcode DeviceSet.mount}. */
export interface MountRequest {
  readonly readOnly?: boolean;
  readonly label?: string;
}
