/**
 * Sparse files as the pool's devices.
 *
 * A file grows if a larger size is asked for, and never shrinks. Its loop device is attached with
 * autoclear: it exists as long as the pool that uses it, and disappears if the process is killed
 * before the pool is made.
 *
 * @module
 */
import {
  close,
  ftruncate,
  O_CREAT,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  open as openNode,
  tryOpen,
  withFd,
} from "../../ffi/files.ts";
import { EBUSY } from "../../ffi/errno.ts";
import {
  attachOpen,
  LOOP_MAJOR,
  type LoopDevice,
  type LoopStatus,
  loopStatus,
  refreshCapacity as refreshFd,
} from "../../ffi/loop.ts";
import { fstat, type Stat } from "../../ffi/stat.ts";
import { makedev } from "../../ffi/names.ts";
import { type ConfinedPath, exists, open, tryLstat } from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { names } from "../../lib/base/processes.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { syncDirectory } from "../../lib/store/metadata.ts";
import { PATIENCE, retryBusy } from "./patience.ts";

/** An open device for a pool, to be closed when the pool uses it. */
export interface Backing extends Disposable {
  /** The path of the block device. */
  readonly path: string;
  /** The file behind it, if it is a loop device. */
  readonly image: string | undefined;
}

/**
 * Makes an image, or grows one.
 *
 * @param size in bytes; if the file is larger, `warn` gets a line
 */
export function ensureImage(
  path: ConfinedPath,
  size: number,
  warn: Warn,
): void {
  const isNew = !exists(path);
  withFd(open(path, O_RDWR | O_CREAT | O_NONBLOCK, 0o600), (fd) => {
    const stat = fstat(fd);
    if (!stat.isFile) {
      throw new VeneerError("corrupt store", `${path} is not a file; move it elsewhere`);
    }
    if (stat.size > size) warn(`${path} has ${stat.size} bytes and is not shrunk to ${size}`);
    if (stat.size < size) ftruncate(fd, BigInt(size), path.text);
  });
  if (isNew) syncDirectory(path.parent);
}

/** Attaches an image to a loop device. */
export function attachImage(image: ConfinedPath): Backing {
  const { path, fd } = withFd(
    open(image, O_RDWR | O_NONBLOCK),
    (file) => attachAlone(file, image.text),
  );
  return { path, image: image.text, [Symbol.dispose]: () => close(fd) };
}

/**
 * Attaches a file of a pool once no other loop device writes to it: a pool whose name is gone may
 * still be writing its metadata (`removal.ts`), and two pools on one file would destroy it.
 *
 * @param file the open file, which the caller closes
 * @param path its path in messages
 * @throws {VeneerError} `in use` if another one is still attached after a wait
 */
export function attachAlone(file: number, path: string, { readOnly = false } = {}): LoopDevice {
  requireDetached(file, path);
  return attachOpen(file, path, { readOnly, autoclear: true });
}

function requireDetached(file: number, path: string): void {
  let writer: string | undefined;
  retryBusy(PATIENCE, () => (writer = writerOf(file)) === undefined ? 0 : -EBUSY);
  if (writer === undefined) return;
  throw new VeneerError(
    "in use",
    `${path} is attached to ${writer}; end what uses it, then run losetup --detach ${writer}`,
  );
}

/** The path of a loop device through which a file may be written to, if there is one. */
function writerOf(file: number): string | undefined {
  const stat = fstat(file);
  return names("/sys/block").filter((name) => /^loop\d+$/.test(name)).map((name) => `/dev/${name}`)
    .find((path) => {
      const fd = tryOpen(path, O_RDONLY), status = fd < 0 ? undefined : withFd(fd, loopStatus);
      return status?.readOnly === false && isOf(status, stat);
    });
}

/** The number of a loop device; `undefined` for any other device. */
export function loopNumber(device: bigint): number | undefined {
  const number = Number(device & 0xffn) | Number((device >> 12n) & 0xfff00n);
  return makedev(LOOP_MAJOR, number) === device ? number : undefined;
}

/** Whether a loop device is attached to a file. */
export function isAttachedTo(number: number, image: ConfinedPath): boolean {
  const file = tryLstat(image);
  if (file === undefined) return false;
  const status = withFd(openNode(`/dev/loop${number}`, O_RDONLY), loopStatus);
  return status !== undefined && isOf(status, file);
}

const isOf = (loop: LoopStatus, { inode, devMajor, devMinor }: Stat): boolean =>
  loop.inode === inode && loop.device === makedev(devMajor, devMinor);

/** Gives a loop device the size to which its file has grown. */
export function refreshCapacity(number: number): void {
  withFd(openNode(`/dev/loop${number}`, O_RDWR), refreshFd);
}
