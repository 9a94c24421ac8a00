/**
 * Thin devices without layers: the contract, and its implementation on the device set.
 *
 * A *device* is a block device with a file system, made as a snapshot of another device or of the
 * store's *base*, which has an empty file system. It shares a block with its origin until one of
 * the two writes to it. The driver devicemapper keeps its layers in the same store, so each of its
 * layers is a device here.
 *
 * @module
 */
import { VeneerError } from "../../lib/base/errors.ts";
import { checkId } from "../../lib/base/ids.ts";
import { type OpenStore, storeClosed } from "../../lib/base/opened.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { Home } from "../../lib/store/home.ts";
import type { LayerLock } from "../../lib/store/layer_lock.ts";
import type { RunState } from "../../lib/store/run_state.ts";
import type { DeviceSet } from "./device_set.ts";
import { BASE } from "./names.ts";
import type { DeviceMapperOptions } from "./options.ts";
import { statusLines } from "./status.ts";

/** Options of a new device. */
export interface DeviceOptions {
  /** The device to copy; the base by default. */
  readonly origin?: string;
  /**
   * In bytes, at least the origin's, which is the default. If it is larger, the file system is
   * grown.
   */
  readonly size?: number;
}

/** Options of a device's mount. */
export interface DeviceMountOptions {
  /** Whether writes through this mount are refused. */
  readonly readOnly?: boolean;
  /** An SELinux label: becomes the `context=` mount option. */
  readonly label?: string;
}

/** A device as callers see it. */
export interface DeviceInfo {
  /** The id that it was created with. */
  readonly id: string;
  /** Its name in device-mapper. */
  readonly deviceName: string;
  /** Its number in the pool. */
  readonly deviceId: number;
  /** In bytes. */
  readonly size: number;
  /** The path of its node; absent if it is not active. */
  readonly path?: string;
}

/**
 * A store of thin devices. Operations are safe against each other across processes, and against
 * being killed.
 *
 * Every method that takes an id throws {@linkcode VeneerError} `not found` for a device that does
 * not exist and `invalid argument` for an invalid id.
 */
export interface DeviceStore extends OpenStore {
  /**
   * Creates a device.
   *
   * @throws `already exists`, `not found` (origin), `invalid argument` for a size below the
   * origin's, `limit exceeded` if the pool has too little space
   */
  add(id: string, options?: DeviceOptions): void;

  /**
   * Removes a device. Devices made from it stay.
   *
   * @throws `in use` if it is open or mounted, unless the store defers deletions
   */
  remove(id: string): void;

  /** Whether a device with this id exists. */
  exists(id: string): boolean;

  /** The ids of all devices, sorted. */
  list(): string[];

  /** A device's properties. */
  describe(id: string): DeviceInfo;

  /**
   * Activates a device, unless it is active; returns the path of its node. It stays active until it
   * is deactivated, even after the end of this process.
   */
  activate(id: string): string;

  /** Deactivates a device. @throws `in use` if it is open, unless the store defers removals */
  deactivate(id: string): void;

  /**
   * Activates a device and mounts it.
   *
   * @param directory the mount point, which must exist
   */
  mount(id: string, directory: string, options?: DeviceMountOptions): void;

  /** Unmounts a device from a directory and deactivates it. */
  unmount(id: string, directory: string): void;

  /**
   * Deactivates all unused devices and, if no device is active then, the pool. The next operation
   * brings the pool up again.
   */
  shutdown(): void;
}

/** The parts of a store. */
export interface DeviceStoreContext {
  readonly home: Home;
  readonly state: RunState;
  readonly devices: DeviceSet;
  readonly options: DeviceMapperOptions;
}

/** {@linkcode DeviceStore}, implemented on a {@linkcode DeviceSet}. */
export class Devices implements DeviceStore {
  readonly name = "devicemapper";
  readonly #context: DeviceStoreContext;
  #isClosed = false;

  constructor(context: DeviceStoreContext) {
    this.#context = context;
  }

  get home(): string {
    return this.#context.home.path;
  }

  get #devices(): DeviceSet {
    if (this.#isClosed) throw storeClosed(this.home);
    return this.#context.devices;
  }

  status(): readonly StatusLine[] {
    const { home, options } = this.#context;
    return statusLines(this.#devices.status(), options, home);
  }

  add(id: string, { origin, size }: DeviceOptions = {}): void {
    checkId(id);
    this.#devices.names.checkId(id);
    this.#context.home.requireWritable();
    using _lock = this.#context.state.lockLayer(id);
    if (this.#devices.has(id)) {
      throw new VeneerError(
        "already exists",
        `device ${id} exists; choose another id or remove it`,
      );
    }
    if (origin !== undefined) this.#require(origin);
    this.#devices.add(id, origin ?? BASE, size);
  }

  remove(id: string): void {
    using _lock = this.#lock(id);
    this.#context.home.requireWritable();
    this.#devices.remove(id);
  }

  exists(id: string): boolean {
    checkId(id);
    return this.#devices.has(id);
  }

  list(): string[] {
    return this.#devices.list().sort();
  }

  describe(id: string): DeviceInfo {
    this.#require(id);
    const { name: deviceName, deviceId, size } = this.#devices.describe(id);
    const path = this.#devices.isActivated(id) ? this.#devices.path(id) : undefined;
    return { id, deviceName, deviceId, size, path };
  }

  activate(id: string): string {
    using _lock = this.#lock(id);
    return this.#devices.activate(id);
  }

  deactivate(id: string): void {
    using _lock = this.#lock(id);
    this.#devices.deactivate(id);
  }

  mount(id: string, directory: string, options: DeviceMountOptions = {}): void {
    using _lock = this.#lock(id);
    this.#devices.mount(id, directory, options);
  }

  unmount(id: string, directory: string): void {
    using _lock = this.#lock(id);
    this.#devices.unmount(id, directory);
  }

  shutdown(): void {
    this.#devices.shutdown();
  }

  close(): void {
    this.#isClosed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #lock(id: string): LayerLock {
    this.#require(id);
    return this.#context.state.lockLayer(id);
  }

  #require(id: string): void {
    checkId(id);
    if (!this.#devices.has(id)) throw new VeneerError("not found", `device ${id} does not exist`);
  }
}
