/**
 * A device set: the thin devices of a store, recorded and in the pool, one for each layer and one
 * that is the base of all.
 *
 * Several processes use one set at once. Every public method takes the lock of the set's devices,
 * the last in the order of locks (`run_state.ts`), and reads the pool and the note of an open
 * transaction again; records are read when they are needed, and not kept. The pool is brought up by
 * the first call that needs it.
 *
 * Docker's daemon takes no such lock, keeps the pool's transaction id and the numbers of devices in
 * its memory, and fails if they change. While it runs on the store, interrupted transactions and
 * deletions are left alone, because they could be the daemon's, and changes of the pool or of
 * records are refused. Devices can be activated and read.
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
  /** Whether the base device shall have an empty root, if it is to be made. */
  readonly hasEmptyBase?: boolean;
  readonly warn: Warn;
  /** How long a busy device is waited for, in milliseconds. */
  readonly patience?: number;
  /** The daemon of Docker's that runs on the store, as messages name it, if one does. */
  readonly daemon?: () => string | undefined;
}

/** A device of the set, as {@linkcode DeviceSet.describe} tells. */
export interface Device extends DeviceRecord {
  /** In device-mapper. */
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
  readonly #changes: DeviceChanges;
  readonly #base: BaseDevice;
  #started = false;
  /** The daemon that was found on the store when that was last looked for; `null` before. */
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
    // No layer has this name; under the lock one file system is grown at a time.
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
   * Looks whether Docker's daemon runs on the store.
   *
   * @throws {VeneerError} `in use`, naming it
   */
  requireSole(): void {
    this.#look();
    this.#requireNoDaemon();
  }

  /** Whether Docker's daemon runs on the store, as far as this set has looked. */
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

  /** Brings the pool up and the records in order, if that was not done. */
  start(): void {
    this.#session(() => {});
  }

  /**
   * Makes a device: a snapshot of another, or of the base.
   *
   * @param size in bytes; its origin's if left out. A larger one has its file system grown.
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
   * Deletes a device that was retired; a busy one is deleted later, when the store is opened again.
   */
  dispose(hash: string): void {
    this.#finishTransactionOf(hash);
    const record = this.records.tryRead(hash);
    if (!record?.deleted) return;
    const isDiscarded = this.#discard(hash, record);
    this.#change(() => this.#changes.deleteRetired(hash, isDiscarded));
  }

  /**
   * Gives the space of a retired device back, without the lock: others need not wait for that. Best
   * effort.
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
   * Gives a device the content of another, as {@linkcode add} made it: a second snapshot takes its
   * place in one rename, and the first is deleted. It does that in a full pool, too.
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

  /** Activates a device, to be written to or not; returns its node's path. */
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
   * Deactivates a device: at once or, with deferred removal, when its last user closes it.
   *
   * @param patience how long a busy one is waited for, in milliseconds
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

  /** Whether there is a device, that is not to be deleted. Damaged records are of devices, too. */
  has(hash: string): boolean {
    this.#finishTransactionOf(hash);
    if (!this.records.has(hash)) return false;
    return this.records.tryRead(hash)?.deleted !== true;
  }

  /** The hashes of every device but the base. */
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

  /** Whether it was mounted for writing since it was made, or, the base, has its file system. */
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

  /** How much space a device has; `undefined` if it is not active. */
  usage(hash: string): ThinStatus | undefined {
    return this.#session(() => this.#devices.status(hash));
  }

  /** The file system that every device has: the base's. */
  fileSystem(): string {
    // Old stores do not record it; it is read at a start.
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
   * Deactivates every device and takes the pool down, unless options gave it. With deferred
   * removal, busy devices are removed after their last use, and then the pool and the images' loop
   * devices.
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
   * Runs `use` under the lock, with the pool up and no unfinished change: for operations without a
   * method of their own.
   */
  exclusively<T>(use: (devices: ThinDevices) => T): T {
    return this.#session(() => use(this.#devices));
  }

  /**
   * Runs `use` while no other process reads the pool's metadata; the set can be changed meanwhile.
   */
  readingMetadata<T>(use: () => T): T {
    using _lock = this.#context.state.lockNamed("metadata", "the pool's metadata");
    return use();
  }

  #lock(): Disposable {
    return this.#context.state.lockNamed("devices", "the device set");
  }

  /** Runs `use` under the lock, with the pool up and nothing half done. */
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

  /** Brings to its end an interrupted transaction that is about this device. */
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

  /** The pool as Docker's daemon has it: nothing is brought up, sized or mended. */
  #statusBeside(daemon: string): PoolStatus {
    const status = this.pool.tryStatus();
    if (status !== undefined) return status;
    throw new VeneerError(
      "in use",
      `${daemon} runs on this store, and pool ${this.pool.name} is not up yet; try again`,
    );
  }
}

/** How {@linkcode DeviceSet.mount} mounts. */
export interface MountRequest {
  readonly readOnly?: boolean;
  readonly label?: string;
}
