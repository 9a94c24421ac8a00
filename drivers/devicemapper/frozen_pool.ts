/**
 * A pool whose files are only read. The kernel opens a pool's devices for writing. So each file is
 * attached to a read-only loop device, with a `snapshot` target over it (the kernel's
 * admin-guide/device-mapper/snapshot.rst), which keeps all writes in a temporary file without a
 * name.
 *
 * ```text
 * file -> loop, read-only \
 *                          snapshot -> pool -> thin device -> mount, attached nowhere
 * file without a name -> loop /
 * ```
 *
 * Soon after its creation, each device is marked for removal by the kernel when its last user
 * closes it. So all devices are removed with this process, even if it is killed.
 *
 * @module
 */
import {
  createDevice,
  deviceDirectory,
  SECTOR_SIZE,
  type Target,
  tryRemoveDevice,
} from "../../ffi/devmapper.ts";
import { EBUSY, ENXIO } from "../../ffi/errno.ts";
import {
  close,
  ftruncate,
  O_DIRECTORY,
  O_RDONLY,
  open,
  pread,
  RESOLVE_INSIDE,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import {
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_RDONLY,
} from "../../ffi/fsmount.ts";
import { attachOpen } from "../../ffi/loop.ts";
import { fstat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { openTemporaryFile } from "../../lib/base/temporary_file.ts";
import { PATIENCE, retryBusy } from "./patience.ts";
import { METADATA_BLOCK_SIZE, target as poolTarget } from "./pool.ts";
import { readSuperblock } from "./superblock.ts";
import type { Thin } from "./thin_devices.ts";
import { dataBlockSize } from "./thin_metadata.ts";

/** The size of the sparse file for writes, such as the replay of journals, in bytes: 1 GiB. */
const EXCEPTIONS = 1 << 30;

/** The size of the chunks that are copied at a write, in sectors: 8 KiB. */
const CHUNK = 16;

/** A file of a pool, open for reading; the caller closes it. */
export interface PoolFile {
  readonly fd: number;
  /** Its path in messages. */
  readonly path: string;
}

/** A pool that exists until it is disposed of. */
export class FrozenPool implements Disposable {
  readonly #prefix = `veneer-docker-${crypto.randomUUID()}`;
  readonly #names: string[] = [];
  readonly #scope = new DisposableStack();
  readonly #directory: string;
  readonly #pool: string;
  #made = 0;

  /**
   * Makes the pool.
   *
   * @param temporary the directory for the file of the writes
   * @throws {VeneerError} `corrupt store` if the metadata is not that of a pool
   */
  constructor(metadata: PoolFile, data: PoolFile, temporary: string) {
    this.#directory = temporary;
    using scope = new DisposableStack();
    scope.use(this);
    const blockSize = blockSizeOf(metadata);
    const target = poolTarget(fstat(data.fd).size, {
      metadata: this.#snapshot("metadata", metadata),
      data: this.#snapshot("data", data),
      blockSize,
      whenFull: "error",
    });
    this.#pool = this.#make("pool", target, this.#scope);
    scope.move();
  }

  /** Makes a device whose writes go to a temporary file; returns its number. */
  #snapshot(name: string, { fd, path }: PoolFile): string {
    using attached = new DisposableStack();
    const loop = (file: number, readOnly: boolean) => {
      const device = attachOpen(file, path, { readOnly, autoclear: true });
      return attached.adopt(device.fd, close);
    };
    const origin = loop(fd, true),
      exceptions = withFd(this.#openExceptions(), (file) => loop(file, false));
    const target = {
      start: 0,
      length: Math.floor(fstat(fd).size / SECTOR_SIZE),
      type: "snapshot",
      parameters: `${numberOf(origin)} ${numberOf(exceptions)} N ${CHUNK}`,
    };
    return this.#make(name, target, this.#scope);
  }

  #openExceptions(): number {
    const fd = openTemporaryFile(this.#directory);
    ftruncate(fd, BigInt(EXCEPTIONS));
    return fd;
  }

  /**
   * Makes a device that exists until `scope` and its other users close it.
   *
   * @param use gets the path of its node, which may be removed afterwards
   */
  #make(name: string, target: Target, scope: DisposableStack, use = (_node: string) => {}): string {
    const whole = `${this.#prefix}-${name}`, node = `${deviceDirectory()}/${whole}`;
    createDevice(whole, target);
    this.#names.push(whole);
    try {
      const fd = scope.adopt(open(node, O_RDONLY), close);
      use(node);
      return numberOf(fd);
    } finally {
      // If the kernel cannot remove it later, `dispose` does.
      const removed = tryRemoveDevice(whole, true);
      if (removed !== -EBUSY) unwrap(removed, "DM_DEV_REMOVE", whole);
    }
  }

  /**
   * Mounts a device's file system read-only; `scope` unmounts it. If its journal was not written
   * back, it is replayed; these writes go to the temporary file.
   *
   * @param what the layer's name in messages
   * @returns its `rootfs`, open for reading
   * @throws {VeneerError} `corrupt store` if it is missing
   */
  mount({ deviceId, size }: Thin, what: string, scope: DisposableStack): number {
    using opened = new DisposableStack();
    const parameters = `${this.#pool} ${deviceId}`;
    const target = { start: 0, length: size / SECTOR_SIZE, type: "thin", parameters };
    let mount = -1;
    this.#make(`${this.#made++}`, target, opened, (node) => {
      mount = scope.adopt(mountDetached(node, what), close);
    });
    const root = tryOpenat2(mount, "rootfs", O_RDONLY | O_DIRECTORY, RESOLVE_INSIDE);
    if (root < 0) throw new VeneerError("corrupt store", `${what} has no directory rootfs`);
    return scope.adopt(root, close);
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
    for (const name of this.#names.toReversed()) {
      const removed = retryBusy(PATIENCE, () => tryRemoveDevice(name));
      if (removed !== -ENXIO) unwrap(removed, "DM_DEV_REMOVE", name);
    }
  }
}

/** Mounts a file system without attaching it; returns a descriptor of its root. */
function mountDetached(node: string, what: string): number {
  const type = readSuperblock(node)?.type;
  if (type === undefined) {
    throw new VeneerError("corrupt store", `${what} has a file system that is not ext4 or xfs`);
  }
  return withFd(fsopen(type), (context) => {
    fsconfigString(context, "source", node);
    fsconfigFlag(context, "ro");
    // Layers have the same UUID.
    if (type === "xfs") fsconfigFlag(context, "nouuid");
    fsconfigCreate(context);
    return fsmount(context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
  });
}

/** The size of a pool's data blocks, in sectors. */
function blockSizeOf({ fd, path }: PoolFile): number {
  const block = new Uint8Array(METADATA_BLOCK_SIZE), length = pread(fd, block, block.length, 0n);
  const size = length < block.length ? undefined : dataBlockSize(new DataView(block.buffer));
  if (size !== undefined) return size;
  throw new VeneerError("corrupt store", `${path} is not the metadata of a pool`);
}

/** `major:minor` of an open device. */
function numberOf(fd: number): string {
  const { rdevMajor, rdevMinor } = fstat(fd);
  return `${rdevMajor}:${rdevMinor}`;
}
