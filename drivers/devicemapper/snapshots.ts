/**
 * Snapshots on devicemapper: every layer is a thin device, and the device of an active snapshot or
 * a view is a snapshot of the parent's device.
 *
 * ```text
 * <root>/snapshots/devicemapper/       a store of devices of its own, as the graph's is (`device_set.ts`)
 *   metadata/<layer>                   the record of a layer's device
 *   devicemapper/                      the pool's images
 * ```
 *
 * A snapshot's root is that of its device; without a parent it is empty. A commit makes the active
 * layer itself the committed one. So the layer must not be open then, because a program that still
 * has it open would write to a layer with children. If it is open nevertheless, as an engine's may
 * be, the committed layer is a new snapshot of it. A view has its own device as well: even a
 * read-only mount repairs a file system that was not unmounted cleanly, and that must not change
 * the parent's device.
 *
 * A device is activated when its mounts are returned to a caller. It stays active until it is
 * committed or removed, or until `cleanup` finds no active snapshot, because callers do not report
 * their unmounts.
 *
 * @module
 */
import { deviceInfo } from "../../ffi/devmapper.ts";
import { EBUSY, ENOENT } from "../../ffi/errno.ts";
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import { lchown, makeDirectory, tryUnlink, unwrapConfined } from "../../lib/tree/confined.ts";
import type { Home } from "../../lib/store/home.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import type { Mount, MountPlan } from "../../lib/mount/plan.ts";
import {
  EVERY_MOUNT,
  type LayerChain,
  NO_MOUNT,
  type PrepareOptions,
  type SnapshotBackend,
} from "../../lib/snapshots/backend.ts";
import { formatSize } from "../../lib/base/sizes.ts";
import { NO_LIMITS, type SnapshotLimits } from "../../lib/snapshots/limits.ts";
import type { Usage } from "../../lib/snapshots/snapshotter.ts";
import { refuseUses } from "../../lib/snapshots/layer_mounts.ts";
import { usesOf } from "../../lib/mount/uses.ts";
import type { DeviceSet } from "./device_set.ts";
import { setNoSpaceRetries, unmountBelow } from "./file_systems.ts";
import { holdersOfDevice } from "./holders.ts";
import { openDevice } from "./mounted_thin.ts";
import { optionList, splitOptions } from "./mount_options.ts";
import { BASE } from "./names.ts";
import type { DeviceMapperOptions } from "./options.ts";
import { retryBusy } from "./patience.ts";
import { usageOf } from "./snapshots_usage.ts";
import { statusLines } from "./status.ts";
import { ensureStored } from "./stored.ts";
import type { Warn } from "../../lib/base/warn.ts";

/**
 * The longest wait for an open device without the lock of devices, in milliseconds: udev opens new
 * devices for a moment.
 */
const PATIENCE = 1000;

/** The same with the lock, for a device that has just been closed. */
const BRIEF_PATIENCE = 100;

/** The parts of the backend. */
export interface SnapshotsContext {
  readonly home: Home;
  readonly idMaps: IdMaps;
  readonly devices: DeviceSet;
  readonly options: DeviceMapperOptions;
  /** Gets warnings of one line each. */
  readonly warn: Warn;
}

export class DeviceMapperSnapshots implements SnapshotBackend {
  readonly isTreeOwn = true;
  readonly name = "devicemapper";
  readonly home: Home;
  /** A device has its parent's content. */
  readonly rebases = false;
  readonly #context: SnapshotsContext;
  readonly #devices: DeviceSet;

  constructor(context: SnapshotsContext) {
    this.#context = context;
    this.home = context.home;
    this.#devices = context.devices;
  }

  layerFor(): undefined {
    return undefined;
  }

  checkLimits({ bytes, inodes }: SnapshotLimits, what: string): void {
    if (inodes > 0) {
      throw new VeneerError(
        "not supported",
        `${what}: a device limits the space of a snapshot, not its inodes; leave snapshot.inodes out`,
      );
    }
    const { baseSize } = this.#context.options;
    if (bytes === 0 || bytes >= baseSize) return;
    throw new VeneerError(
      "not supported",
      `${what}: ${formatSize(bytes)} is less than the ${formatSize(baseSize)} of the device that ` +
        "every snapshot begins as; ask for more, or make the store with a smaller dm.basesize",
    );
  }

  prepare({ layer, parents: [origin = BASE] }: LayerChain, { limits }: PrepareOptions = {}): void {
    const { bytes } = limits ?? NO_LIMITS;
    this.#devices.add(layer, origin, bytes || undefined);
    if (origin === BASE) this.#ownRoot(layer);
  }

  /** Gives the root of a new base layer to container root. */
  #ownRoot(layer: string): void {
    const { uids, gids } = this.#context.idMaps;
    if (uids.root === 0 && gids.root === 0) return;
    const target = this.home.staging(layer);
    makeDirectory(target, 0o700);
    this.#devices.mount(layer, target.text);
    try {
      lchown(target, uids.root, gids.root);
    } finally {
      this.#devices.unmount(layer, target.text);
    }
    this.#unstage(layer);
  }

  #unstage(layer: string): void {
    const result = tryUnlink(this.home.staging(layer), AT_REMOVEDIR);
    if (result !== -ENOENT) unwrapConfined(result, "rmdir", this.home.staging(layer));
  }

  seal({ layer }: LayerChain): void {
    this.#checkNotMounted(layer);
    this.#deactivate(layer);
  }

  freeze({ layer }: LayerChain, committed: string): void {
    this.#devices.add(committed, layer);
  }

  checkUnused({ layer }: LayerChain, isNoUse = EVERY_MOUNT): void {
    if (isNoUse === NO_MOUNT) return;
    this.#checkNotMounted(layer, isNoUse);
    // An inactive device cannot be mounted until its mounts are returned again. With deferred
    // deletion, the deactivation is deferred as well.
    if (!this.#context.options.deferredDeletion) this.#deactivate(layer);
  }

  #checkNotMounted(layer: string, isNoUse = EVERY_MOUNT): void {
    const device = this.#numbers(layer);
    if (device === undefined) return;
    refuseUses(`layer ${layer}`, usesOf({ mountPoints: [], device }), isNoUse);
  }

  /**
   * Deactivates a layer's device at once, regardless of the options for deferral.
   *
   * @throws {VeneerError} `in use` with its users
   */
  #deactivate(layer: string): void {
    if (this.#numbers(layer) === undefined) return;
    this.#waitUntilClosed(layer);
    this.#devices.exclusively((devices) => devices.deactivateNow(layer, BRIEF_PATIENCE));
  }

  /** @throws {VeneerError} `in use` with the users of the device */
  #waitUntilClosed(layer: string): void {
    const name = this.#devices.names.device(layer);
    const isOpen = () => (deviceInfo(name)?.openCount ?? 0) > 0;
    if (retryBusy(PATIENCE, () => isOpen() ? -EBUSY : 0) === 0) return;
    const info = deviceInfo(name);
    const holders = info === undefined ? [] : holdersOfDevice(info.major, info.minor);
    throw new VeneerError(
      "in use",
      `device ${name} of layer ${layer} is open${
        holders.length > 0 ? `: ${holders.join(", ")}` : ""
      }; end that use first`,
    );
  }

  /** `major:minor` of a layer's device, if it is active. */
  #numbers(layer: string): string | undefined {
    const info = deviceInfo(this.#devices.names.device(layer));
    return info && `${info.major}:${info.minor}`;
  }

  remove(layer: string): void {
    const numbers = this.#numbers(layer);
    if (numbers !== undefined) {
      unmountBelow(this.home.path, numbers); // left by a process that was killed in `prepare`
      this.#waitUntilClosed(layer);
    }
    if (this.#devices.has(layer)) this.#devices.retire(layer);
    this.#devices.dispose(layer);
    this.#unstage(layer);
    if (!this.#devices.records.has(layer)) return;
    throw new VeneerError(
      "in use",
      `layer ${layer} is in use; its device is deleted by the next cleanup after that`,
    );
  }

  list(): string[] {
    return [...new Set([...this.#devices.records.ids(), ...this.home.staged()])].sort();
  }

  mounts(chain: LayerChain): Mount[] {
    this.#activate(chain);
    const [type, options] = this.#howMounted(chain);
    return [{ type, source: this.#devices.path(chain.layer), options }];
  }

  checkMapped(): void {
    // ext4 and xfs support mounts with mapped ids since Linux has them (5.12).
  }

  plan(chain: LayerChain, target: string): MountPlan {
    const [type, options] = this.#howMounted(chain);
    const plain = options.filter((option) => option !== "discard");
    return {
      path: target,
      steps: [
        {
          kind: "prepare",
          name: "activate the device",
          perform: () => this.#activate(chain),
          undo: () => {}, // Other callers may use its mounts.
        },
        {
          kind: "mount",
          source: this.#devices.path(chain.layer),
          target,
          type,
          ...splitOptions(options),
          plainData: splitOptions(plain).data,
        },
        ...this.#afterMount(type, target),
      ],
    };
  }

  #activate({ layer, kind }: LayerChain): void {
    this.#devices.activate(layer, kind === "view" ? "read" : "write");
  }

  /** The file system of a layer, and all options of its mount. */
  #howMounted({ kind }: LayerChain): [type: string, options: string[]] {
    const fileSystem = this.#devices.fileSystem();
    const { mountOptions: options } = this.#context.options;
    const readOnly = kind === "view";
    return [fileSystem, optionList({ fileSystem, readOnly, options, label: undefined })];
  }

  #afterMount(type: string, target: string): MountPlan["steps"] {
    const { xfsNoSpaceRetries: retries } = this.#context.options;
    if (type !== "xfs" || retries === undefined) return [];
    const perform = () => setNoSpaceRetries(target, retries);
    return [{ kind: "prepare", name: "set the retries of xfs", perform, undo: () => {} }];
  }

  ensureStored(layer: string, directory: number): void {
    ensureStored(layer, directory, this.#devices.pool, this.#context.warn);
  }

  openFiles(layer: string, scope: DisposableStack, isRead: boolean): number {
    this.#checkNotMounted(layer);
    const node = this.#devices.activate(layer, isRead ? "read" : "write");
    scope.defer(() => this.#deactivate(layer));
    return openDevice(node, `layer ${layer}`, scope, isRead);
  }

  hasCounters(): boolean {
    return true;
  }

  usage({ layer, parents: [origin = BASE] }: LayerChain): Usage {
    return usageOf(this.#devices, layer, origin);
  }

  importable(): readonly [] {
    return [];
  }

  imported(): void {}

  status(): readonly StatusLine[] {
    return statusLines(this.#devices.status(), this.#context.options, this.home);
  }

  release(): void {
    this.#devices.shutdown();
  }
}
