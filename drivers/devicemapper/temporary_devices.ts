/**
 * Devices that exist only as long as this process needs them.
 *
 * Soon after its creation, each device is marked for removal by the kernel when its last user
 * closes it. So all devices are removed with this process, even if it is killed.
 *
 * @module
 */
import {
  createDevice,
  deviceDirectory,
  type Target,
  tryRemoveDevice,
} from "../../ffi/devmapper.ts";
import { EBUSY, ENXIO } from "../../ffi/errno.ts";
import { close, ftruncate, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { attachOpen } from "../../ffi/loop.ts";
import { fstat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { openTemporaryFile } from "../../lib/base/temporary_file.ts";
import { PATIENCE, retryBusy } from "./patience.ts";

/** The size of the sparse file for writes, such as the replay of journals, in bytes: 1 GiB. */
const EXCEPTIONS = 1 << 30;

/** The size of the chunks that are copied at a write, in sectors: 8 KiB. */
const CHUNK = 16;

/** The devices of one process. */
export class TemporaryDevices implements Disposable {
  readonly #prefix = `veneer-docker-${crypto.randomUUID()}`;
  readonly #names: string[] = [];

  /** @param directory the directory for the files of writes */
  constructor(private readonly directory: string) {}

  /**
   * Makes a device that exists until `scope` and its other users close it.
   *
   * @param use gets the path of its node, which may be removed afterwards
   * @returns its number, `major:minor`
   */
  make(name: string, target: Target, scope: DisposableStack, use = (_node: string) => {}): string {
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
   * Makes a device that shows another one, which is only read: a `snapshot` target (the kernel's
   * admin-guide/device-mapper/snapshot.rst) keeps all writes in a temporary file without a name.
   *
   * @param origin the number of the other device
   * @param sectors its size
   */
  snapshot(
    name: string,
    { origin, sectors }: { readonly origin: string; readonly sectors: number },
    scope: DisposableStack,
    use?: (node: string) => void,
  ): string {
    using attached = new DisposableStack();
    const exceptions = withFd(openTemporaryFile(this.directory), (file) => {
      ftruncate(file, BigInt(EXCEPTIONS));
      const loop = attachOpen(file, this.directory, { readOnly: false, autoclear: true });
      return numberOf(attached.adopt(loop.fd, close));
    });
    const parameters = `${origin} ${exceptions} N ${CHUNK}`;
    return this.make(name, { start: 0, length: sectors, type: "snapshot", parameters }, scope, use);
  }

  [Symbol.dispose](): void {
    for (const name of this.#names.toReversed()) {
      const removed = retryBusy(PATIENCE, () => tryRemoveDevice(name));
      if (removed !== -ENXIO) unwrap(removed, "DM_DEV_REMOVE", name);
    }
  }
}

/** `major:minor` of an open device. */
export function numberOf(fd: number): string {
  const { rdevMajor, rdevMinor } = fstat(fd);
  return `${rdevMajor}:${rdevMinor}`;
}
