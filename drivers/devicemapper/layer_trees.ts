/**
 * The trees of layers, for a check of their contents. The store is not changed: each layer's device
 * is opened a second time under a temporary name, and what the kernel would write, such as at the
 * replay of a journal, goes to a temporary file (`frozen_pool.ts`).
 *
 * If the pool is not active, another one is made of copies of its metadata and data for reading.
 *
 * @module
 */
import { close } from "../../ffi/files.ts";
import { deviceInfo } from "../../ffi/devmapper.ts";
import type { LayerTrees } from "../../lib/care/structure.ts";
import { readRecord } from "../../lib/care/record_file.ts";
import type { StoreView } from "../../lib/care/store_view.ts";
import type { ConfinedPath } from "../../lib/tree/confined.ts";
import { ActivePool, type FrozenPool, PoolOfFiles } from "./frozen_pool.ts";
import { openDevice, openRootfs } from "./mounted_thin.ts";
import { readPoolDevices } from "./pool_devices.ts";
import { type PoolPart, poolSource } from "./pool_source.ts";
import { type DeviceRecord, parseDeviceRecord } from "./records.ts";
import { checkSnapshotSupport } from "./support.ts";

/** The directory for the kernel's writes. */
const TEMPORARY = "/var/tmp";

/** A pool that is open for a check, and the numbers of its devices. */
interface OpenPool {
  readonly pool: FrozenPool;
  readonly devices: ReadonlyMap<number, number>;
}

/** The trees of one store. */
export class DeviceTrees implements LayerTrees {
  readonly isWhole = true;
  readonly #scope = new DisposableStack();
  /** `undefined` before the first use; `null` if it cannot be opened. */
  #opened: OpenPool | null | undefined;

  constructor(readonly view: StoreView, readonly of: "layers" | "snapshots") {}

  path(id: string): ConfinedPath {
    const mountPoint = this.view.join("mnt", id);
    return this.of === "layers" ? mountPoint.join("rootfs") : mountPoint;
  }

  open(id: string, scope: DisposableStack): number | undefined {
    const opened = this.#opened ??= this.#open() ?? null, record = this.#record(id);
    // The check of the structure reports a record without a device.
    if (opened === null || record === undefined || !opened.devices.has(record.deviceId)) {
      return undefined;
    }
    const open = this.of === "layers" ? openRootfs : openDevice;
    return opened.pool.mount(record, `layer ${id}`, scope, open);
  }

  #record(id: string): DeviceRecord | undefined {
    const { text } = readRecord(this.view.join("metadata", id), { most: 1 << 16 });
    try {
      const record = parseDeviceRecord(text ?? "", "");
      return record.deleted ? undefined : record;
    } catch {
      return undefined;
    }
  }

  #open(): OpenPool | undefined {
    const source = poolSource(this.view), found = source && readPoolDevices(source);
    if (source === undefined || typeof found !== "object") return undefined;
    if (checkSnapshotSupport() !== undefined) return undefined;
    const temporary = Deno.env.get("TMPDIR") || TEMPORARY;
    using scope = new DisposableStack();
    const part = (part: PoolPart) => {
      const fd = source.open(part);
      return fd < 0 ? undefined : { fd: scope.adopt(fd, close), path: source.path(part) };
    };
    const metadata = part("metadata"), data = part("data");
    if (metadata === undefined || data === undefined) return undefined;
    const pool = deviceInfo(source.pool)?.live
      ? new ActivePool(source.pool, temporary, { isShared: true })
      : new PoolOfFiles(metadata, data, temporary);
    return { pool: this.#scope.use(pool), devices: found.devices };
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}
