/**
 * The devicemapper backend: every layer is a thin device with its own file system, a snapshot of
 * its parent's device.
 *
 * ```text
 * <home>/metadata/        records of devices (`records.ts`)
 * <home>/devicemapper/    the pool's images
 * <home>/mnt/<id>         the mount point of a layer's device; the layer's root is `rootfs` in it
 * ```
 *
 * A layer exists if its device has a record. A device has no parent, so parents are in Veneer's own
 * records.
 *
 * While Docker's daemon runs on the store, a layer is read through a read-only mount of a file
 * system that is writable. If the file system were read-only, the kernel would refuse the daemon's
 * writable mount.
 *
 * @module
 */
import { MS_BIND, MS_RDONLY, MS_REMOUNT, tryMount } from "../../ffi/mount.ts";
import { ENOENT, ENOTEMPTY } from "../../ffi/errno.ts";
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import {
  type ConfinedPath,
  exists,
  lchown,
  makeDirectory,
  mkdir,
  tryUnlink,
  unwrapConfined,
} from "../../lib/tree/confined.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import type { StatusLine } from "../../lib/base/status.ts";
import type { LayerBackend, LayerSpec } from "../../lib/graph/backend.ts";
import type { NativeDiff } from "../../lib/tar/export/delta.ts";
import type { GetOptions } from "../../lib/graph/driver.ts";
import type { Home } from "../../lib/store/home.ts";
import { ownParentRecords, type ParentRecords } from "../../lib/graph/parent_records.ts";
import { idMapsOf } from "../../lib/store/id_map_records.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { writeFile } from "../../lib/store/metadata.ts";
import {
  type Mount,
  type MountPlan,
  type MountPort,
  type MountStep,
  performPlan,
} from "../../lib/mount/plan.ts";
import { isMountPoint } from "../../lib/mount/mountinfo.ts";
import { checkKnown } from "../../lib/base/options.ts";
import { type LayerMarks, usesOf } from "../../lib/mount/uses.ts";
import type { MountPlaces } from "../../lib/store/mount_places.ts";
import type { DeviceSet } from "./device_set.ts";
import { setNoSpaceRetries } from "./file_systems.ts";
import { optionList, splitOptions } from "./mount_options.ts";
import { BASE } from "./names.ts";
import { type DeviceMapperOptions, parseLayerSize } from "./options.ts";
import type { Warn } from "../../lib/base/warn.ts";
import { BRIEF_PATIENCE } from "./patience.ts";
import { ownBytes } from "./snapshots_usage.ts";
import { statusLines } from "./status.ts";
import { ensureStored } from "./stored.ts";
import { openRootfs } from "./mounted_thin.ts";
import { refuseUses } from "../../lib/snapshots/layer_mounts.ts";
import { EVERY_MOUNT } from "../../lib/snapshots/backend.ts";

/** The parts of the backend. */
export interface BackendContext {
  readonly home: Home;
  readonly places: MountPlaces;
  readonly idMaps: IdMaps;
  readonly devices: DeviceSet;
  readonly options: DeviceMapperOptions;
  readonly port: MountPort;
  readonly warn: Warn;
}

export class DeviceMapper implements LayerBackend {
  readonly name = "devicemapper";
  readonly isTreeOwn = true;
  readonly home: Home;
  readonly idMaps: IdMaps;
  readonly devices: DeviceSet;
  readonly parentRecords: ParentRecords;
  readonly #context: BackendContext;

  constructor(context: BackendContext) {
    this.#context = context;
    this.home = context.home;
    this.idMaps = context.idMaps;
    this.devices = context.devices;
    this.parentRecords = ownParentRecords(context.home);
  }

  status(): readonly StatusLine[] {
    return statusLines(this.devices.status(), this.#context.options, this.home);
  }

  requireSole(): void {
    this.devices.requireSole();
  }

  metadata(id: string): ReadonlyMap<string, string> {
    const { deviceId, size, name } = this.devices.describe(id);
    return new Map([
      ["DeviceId", String(deviceId)],
      ["DeviceSize", String(size)],
      ["DeviceName", name],
    ]);
  }

  /** A device of its base's size was not asked for another. */
  storageOptions(id: string): ReadonlyMap<string, string> {
    const { size } = this.devices.describe(id);
    return new Map(
      size === this.devices.records.tryRead(BASE)?.size ? [] : [["size", String(size)]],
    );
  }

  createdAt(id: string): number | undefined {
    return this.home.parentRecordedAt(id);
  }

  diskUsage(id: string): number {
    const { devices } = this;
    devices.start();
    const { deviceId } = devices.describe(id);
    return devices.readingMetadata(() => ownBytes(devices.pool, deviceId));
  }

  checkId(id: string): void {
    this.devices.names.checkId(id);
  }

  list(): string[] {
    return this.devices.list();
  }

  exists(id: string): boolean {
    return this.devices.has(id);
  }

  parent(id: string): string | undefined {
    return this.home.recordedParent(id);
  }

  create(id: string, spec: LayerSpec): void {
    const size = parseLayerSize(spec);
    this.devices.start(); // First, so that a store that cannot be used is not changed.
    // The entry comes before the device: an entry staged under an id marks an interrupted creation.
    const staged = this.home.staging(id);
    makeDirectory(staged, 0o700);
    this.home.recordParent(id, spec.parent);
    this.devices.add(id, spec.parent ?? BASE, size);
    this.#unstage(staged);
  }

  retire(id: string): void {
    makeDirectory(this.home.staging(id), 0o700);
    try {
      this.devices.retire(id);
    } catch (error) {
      this.#unstage(this.home.staging(id));
      throw error;
    }
  }

  dispose(id: string): void {
    this.devices.dispose(id);
    if (!this.devices.has(id)) this.#removeMountPoint(id);
    this.#unstage(this.home.staging(id));
  }

  #unstage(staged: ConfinedPath): void {
    const result = tryUnlink(staged, AT_REMOVEDIR);
    if (result !== -ENOENT) unwrapConfined(result, "rmdir", staged);
  }

  #removeMountPoint(id: string): void {
    const path = this.#mountPoint(id);
    if (isMountPoint(path.text)) return;
    const result = tryUnlink(path, AT_REMOVEDIR);
    if (result !== -ENOENT && result !== -ENOTEMPTY) unwrapConfined(result, "rmdir", path);
  }

  reset(id: string): void {
    const parent = this.parent(id);
    if (parent === undefined) {
      throw new VeneerError(
        "failed precondition",
        `layer ${id} has no recorded parent, so it cannot be filled again; remove it and create it again`,
      );
    }
    this.devices.reset(id, parent || BASE);
  }

  isPristine(id: string): boolean {
    return !this.devices.isInitialized(id);
  }

  mountPoint(id: string): string {
    return this.#mountPoint(id).text;
  }

  #mountPoint(id: string): ConfinedPath {
    return this.#context.places.of(id, this.home.join("mnt", id));
  }

  trees(id: string): string[] {
    return [this.mountPoint(id)];
  }

  marks(id: string): LayerMarks {
    return { mountPoints: [this.mountPoint(id)], device: this.devices.deviceNumber(id) };
  }

  checkMapped(): void {
    // ext4 and xfs support mounts with mapped ids since Linux has them (5.12).
  }

  plan(id: string, { label, readOnly = false, options = [], idMaps }: GetOptions): MountPlan {
    checkKnown(new Map(options.map((name) => [name, ""])), [], "a devicemapper mount");
    const path = this.#mountPoint(id), target = path.text;
    const type = this.#fileSystem();
    const { mountOptions } = this.#context.options;
    // A file system is writable or read-only for all its mounts together.
    const isShared = readOnly && this.#context.places.isBeside(id);
    const isReadOnly = readOnly && !isShared;
    const list = optionList({
      fileSystem: type,
      readOnly: isReadOnly,
      options: mountOptions,
      label,
    });
    const plain = list.filter((option) => option !== "discard");
    const { uids, gids } = idMapsOf(this.home, id, this.idMaps);
    const mount: MountStep & { kind: "mount" } = {
      kind: "mount",
      source: this.devices.path(id),
      target,
      type,
      ...splitOptions(list),
      plainData: splitOptions(plain).data,
    };
    const finish: MountStep = {
      kind: "prepare",
      name: "make the root",
      perform: () => {
        this.#finishMount(id, path, type, readOnly, isReadOnly);
        if (isShared) remount(target, MS_BIND | MS_RDONLY);
      },
      undo: () => {},
    };
    return {
      path: `${target}/rootfs`,
      steps: [
        {
          kind: "prepare",
          name: "activate the device",
          perform: () => void this.devices.activate(id, readOnly ? "read" : "write"),
          undo: () => this.#deactivate(id),
        },
        { kind: "directory", path, mode: 0o755, uid: uids.root, gid: gids.root },
        ...idMaps === undefined ? [] : [this.#finishPlain(mount, finish)],
        mount,
        finish,
      ],
    };
  }

  /**
   * The step that makes the contents of the root through a plain mount: this process could not make
   * them through a mount that maps ids.
   */
  #finishPlain(mount: MountStep & { kind: "mount" }, finish: MountStep): MountStep {
    const { port } = this.#context;
    const steps = [mount, finish];
    const perform = () => {
      performPlan({ path: mount.target, steps }, port);
      port.unmount(mount.target, 0);
    };
    return { kind: "prepare", name: "make the root before ids are mapped", perform, undo() {} };
  }

  /**
   * The type of the layers' file systems. A damaged store must not keep a layer from being
   * unmounted, which needs no type, so a damaged record is ignored.
   */
  #fileSystem(): string {
    try {
      return this.devices.fileSystem();
    } catch {
      return this.#context.options.fileSystem;
    }
  }

  #deactivate(id: string): void {
    try {
      this.devices.deactivate(id, BRIEF_PATIENCE);
    } catch (error) {
      this.#context.warn(`${messageOf(error)}: it stays active`);
    }
  }

  /** Makes Docker's layout in the device: `rootfs`, and a file `id` with the layer's id. */
  #finishMount(
    id: string,
    target: ConfinedPath,
    type: string,
    readOnly: boolean,
    isReadOnly: boolean,
  ): void {
    const root = target.join("rootfs");
    if (!exists(root)) {
      if (isReadOnly) remount(target.text, 0);
      const { uids, gids } = idMapsOf(this.home, id, this.idMaps);
      mkdir(root, 0o755);
      lchown(root, uids.root, gids.root);
      if (isReadOnly) remount(target.text, MS_RDONLY);
    }
    if (!readOnly && !exists(target.join("id"))) writeFile(target.join("id"), id);
    const { xfsNoSpaceRetries } = this.#context.options;
    if (type === "xfs" && xfsNoSpaceRetries !== undefined) {
      setNoSpaceRetries(target.text, xfsNoSpaceRetries);
    }
  }

  /**
   * Mounts the layer without counting the mount, and returns a bind mount of its root: the root is
   * a directory in the device, and a mount of the device cannot show only that. Removal and cleanup
   * unmount the layer.
   */
  mounts(id: string, options: GetOptions): Mount[] {
    const plan = this.plan(id, options);
    if (!isMountPoint(this.mountPoint(id))) performPlan(plan, this.#context.port);
    const access = options.readOnly ? "ro" : "rw";
    return [{ type: "bind", source: plan.path, options: ["rbind", access] }];
  }

  openFiles(id: string, scope: DisposableStack, isRead: boolean): number {
    const { devices } = this;
    const device = devices.deviceNumber(id), what = `layer ${id}`;
    if (device !== undefined) refuseUses(what, usesOf({ mountPoints: [], device }), EVERY_MOUNT);
    const node = devices.activate(id, isRead ? "read" : "write");
    scope.defer(() => this.#deactivate(id));
    return openRootfs(node, what, scope, isRead);
  }

  applyTarget(): undefined {
    return undefined;
  }

  ensureStored(id: string, directory: number): void {
    ensureStored(id, directory, this.devices.pool, this.#context.warn);
  }

  nativeDiff(): NativeDiff | undefined {
    return undefined;
  }

  release(): void {
    this.devices.shutdown();
  }
}

function remount(target: string, flags: number): void {
  unwrap(tryMount({ target, flags: MS_REMOUNT | flags }), "mount", target);
}
