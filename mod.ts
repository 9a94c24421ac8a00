/**
 * Veneer as a library: stores of layers, of snapshots and of thin devices.
 *
 * {@linkcode openDriver} opens a store of layers, with Docker's operations and on-disk layout;
 * {@linkcode openSnapshotter} one of snapshots, with containerd's operations;
 * {@linkcode openDeviceSet} the thin devices of device-mapper by themselves. Opening loads a
 * driver's code; every operation on an open store is synchronous. Use a Worker for what may take
 * long.
 *
 * Veneer needs Linux, root, and Deno's `--allow-all`.
 *
 * Errors of Veneer's own finding are {@linkcode VeneerError}, and failed system calls
 * {@linkcode SyscallError}; {@linkcode codeOf} tells the kind of either.
 *
 * @example A layer from a tar, and its changes
 * ```ts no-eval
 * import { codeOf, openDriver } from "@veneer/veneer";
 *
 * using layers = await openDriver({ root: "/srv/layers" });
 * try {
 *   layers.create("base");
 *   layers.applyDiff("base", undefined, "base.tar.gz");
 * } catch (error) {
 *   if (codeOf(error) !== "already exists") throw error;
 * }
 * ```
 *
 * @module
 */
export { openDriver } from "./drivers/registry.ts";
export type { LayerOptions, OpenOptions } from "./drivers/registry.ts";
export { openSnapshotter } from "./drivers/snapshotters.ts";
export type { SnapshotStoreOptions } from "./drivers/snapshotters.ts";
export { openDeviceSet } from "./drivers/device_sets.ts";

export type { ForeignUses, OpenStore } from "./lib/base/opened.ts";
export type { StatusLine } from "./lib/base/status.ts";
export type { FileArgument } from "./lib/base/descriptors.ts";
export type { TransferOptions } from "./lib/base/transfer_options.ts";
export type {
  CreateOptions,
  GetOptions,
  GraphDriver,
  LayerInfo,
  ParentArgument,
  PutOptions,
} from "./lib/graph/driver.ts";
export type {
  AgedUsage,
  CommitOptions,
  DiffOptions,
  Labels,
  Leftovers,
  SnapshotInfo,
  SnapshotKind,
  SnapshotMountOptions,
  SnapshotOptions,
  Snapshotter,
  SnapshotUpdate,
  Usage,
} from "./lib/snapshots/snapshotter.ts";
export type { Purpose } from "./lib/snapshots/session.ts";
export type {
  DeviceInfo,
  DeviceMountOptions,
  DeviceOptions,
  DeviceStore,
} from "./drivers/devicemapper/device_store.ts";

export { codeOf, VeneerError } from "./lib/base/errors.ts";
export type { ErrorCode, VeneerErrorOptions } from "./lib/base/errors.ts";
export type { Remedy } from "./lib/base/remedy.ts";
export type { Warn } from "./lib/base/warn.ts";
export { SyscallError } from "./ffi/errno.ts";

export { IDENTITY, IdMap } from "./lib/base/id_maps.ts";
export type { IdMaps, IdRange } from "./lib/base/id_maps.ts";
export { formatChange } from "./lib/tree/changes.ts";
export type { Change, ChangeIterator, ChangeKind } from "./lib/tree/changes.ts";
export type { Mount } from "./lib/mount/plan.ts";
