/**
 * A pool that is only read. The kernel opens a pool's devices for writing, and a file system is
 * written to when its journal is replayed. So there is a `snapshot` target in between
 * (`temporary_devices.ts`), which keeps all writes in a temporary file.
 *
 * ```text
 * of files:       file -> loop, read-only -> snapshot -> pool -> thin device -> mount
 * of devices, which is active already:                   pool -> thin device -> snapshot -> mount
 * ```
 *
 * The mounts are attached nowhere.
 *
 * @module
 */
import { blockDeviceSize } from "../../ffi/block.ts";
import { deviceInfo, SECTOR_SIZE, table } from "../../ffi/devmapper.ts";
import { EBUSY } from "../../ffi/errno.ts";
import { close, pread } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { attachAlone } from "./loopback.ts";
import { openRootfs } from "./mounted_thin.ts";
import { BRIEF_PATIENCE, PATIENCE, retryBusy } from "./patience.ts";
import { METADATA_BLOCK_SIZE, target as poolTarget } from "./pool.ts";
import { numberOf, TemporaryDevices } from "./temporary_devices.ts";
import type { Thin } from "./thin_devices.ts";
import { dataBlockSize } from "./thin_metadata.ts";

/** A file or device of a pool, open for reading; the caller closes it. */
export interface PoolFile {
  readonly fd: number;
  /** Its path in messages. */
  readonly path: string;
}

/** A pool that can be read until it is disposed of. */
export abstract class FrozenPool implements Disposable {
  readonly #scope = new DisposableStack();
  protected readonly devices: TemporaryDevices;
  #made = 0;

  /** @param temporary the directory for the file of the writes */
  constructor(temporary: string) {
    this.devices = this.#scope.use(new TemporaryDevices(temporary));
  }

  /** The number of the pool's device. */
  protected abstract readonly pool: string;

  /** Keeps something until the pool is disposed of. */
  protected get scope(): DisposableStack {
    return this.#scope;
  }

  /**
   * Makes a thin device.
   *
   * @param use gets the path of a node that may be written to, without a change of the pool's disks
   */
  protected abstract open(
    name: string,
    thin: Thin,
    scope: DisposableStack,
    use: (node: string) => void,
  ): void;

  /** Makes a thin device of the pool; returns its number. */
  protected thin(
    name: string,
    { deviceId, size }: Thin,
    scope: DisposableStack,
    use?: (node: string) => void,
  ): string {
    const parameters = `${this.pool} ${deviceId}`, length = size / SECTOR_SIZE;
    return this.devices.make(name, { start: 0, length, type: "thin", parameters }, scope, use);
  }

  /**
   * Mounts a device's file system read-only; `scope` unmounts it.
   *
   * @param what the layer's name in messages
   * @param openRoot mounts it, and opens the layer's root
   * @returns its `rootfs`, or the other root, open for reading
   * @throws {VeneerError} `corrupt store` if it is missing
   */
  mount(thin: Thin, what: string, scope: DisposableStack, openRoot = openRootfs): number {
    using opened = new DisposableStack();
    let root = -1;
    this.open(`${this.#made++}`, thin, opened, (node) => root = openRoot(node, what, scope));
    return root;
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}

/** A pool in two files or on two devices, of which this makes the device. */
export class PoolOfFiles extends FrozenPool {
  protected readonly pool: string;

  /**
   * @throws {VeneerError} `corrupt store` if the metadata is not that of a pool; `in use` if a file
   * can be written to through a loop device
   */
  constructor(metadata: PoolFile, data: PoolFile, temporary: string) {
    super(temporary);
    using scope = new DisposableStack();
    scope.use(this);
    const target = poolTarget(sizeOf(data), {
      metadata: this.#snapshot("metadata", metadata),
      data: this.#snapshot("data", data),
      blockSize: blockSizeOf(metadata),
      whenFull: "error",
    });
    this.pool = this.devices.make("pool", target, this.scope);
    scope.move();
  }

  #snapshot(name: string, file: PoolFile): string {
    const { fd, path } = file;
    using attached = new DisposableStack();
    const origin = numberOf(
      fstat(fd).isDevice ? fd : attached.adopt(attachAlone(fd, path, { readOnly: true }).fd, close),
    );
    const sectors = Math.floor(sizeOf(file) / SECTOR_SIZE);
    return this.devices.snapshot(name, { origin, sectors }, this.scope);
  }

  protected override open(
    name: string,
    thin: Thin,
    scope: DisposableStack,
    use: (node: string) => void,
  ): void {
    this.thin(name, thin, scope, use);
  }
}

/**
 * A pool on devices, which is active, such as one of LVM's. No device of it may be in use, unless
 * it is shared: then the devices that are opened must not change meanwhile.
 */
export class ActivePool extends FrozenPool {
  protected readonly pool: string;
  readonly #name: string;
  readonly #isShared: boolean;

  /**
   * @param name the name of the pool's device
   * @throws {VeneerError} `not found`; `invalid argument` if it is not a pool; `in use` if it has
   * active devices and is not shared
   */
  constructor(name: string, temporary: string, { isShared = false } = {}) {
    const info = deviceInfo(name);
    if (info === undefined) {
      throw new VeneerError(
        "not found",
        `there is no device ${name}: activate the pool, as its volume group does`,
      );
    }
    if (table(name).at(0)?.type !== "thin-pool") {
      throw new VeneerError("invalid argument", `device ${name} is not a thin pool`);
    }
    if (!isShared && !waitUntilClosed(name, BRIEF_PATIENCE)) {
      throw new VeneerError("in use", `devices of pool ${name} are active: end what uses them`);
    }
    super(temporary);
    this.pool = `${info.major}:${info.minor}`;
    this.#name = name;
    this.#isShared = isShared;
  }

  protected override open(
    name: string,
    thin: Thin,
    scope: DisposableStack,
    use: (node: string) => void,
  ): void {
    using below = new DisposableStack();
    const origin = this.thin(`${name}-thin`, thin, below), sectors = thin.size / SECTOR_SIZE;
    this.devices.snapshot(name, { origin, sectors }, scope, use);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    // So that the next command finds it free.
    if (!this.#isShared) waitUntilClosed(this.#name, PATIENCE);
  }
}

/**
 * Waits until no device uses a pool: of devices that are gone, the kernel lets go of the pool a
 * moment later (`removal.ts`), also of those of a command that was killed.
 */
const waitUntilClosed = (name: string, patience: number): boolean =>
  retryBusy(patience, () => deviceInfo(name)?.openCount === 0 ? 0 : -EBUSY) === 0;

/** The size of a file or device, in bytes. */
const sizeOf = ({ fd, path }: PoolFile): number =>
  fstat(fd).isDevice ? blockDeviceSize(fd, path) : fstat(fd).size;

/** The size of a pool's data blocks, in sectors. */
function blockSizeOf({ fd, path }: PoolFile): number {
  const block = new Uint8Array(METADATA_BLOCK_SIZE), length = pread(fd, block, block.length, 0n);
  const size = length < block.length ? undefined : dataBlockSize(new DataView(block.buffer));
  if (size !== undefined) return size;
  throw new VeneerError("corrupt store", `${path} is not the metadata of a pool`);
}
