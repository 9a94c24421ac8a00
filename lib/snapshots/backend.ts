/**
 * The driver's side of snapshots: makes and removes layers as a whole, and mounts them.
 *
 * A backend has no keys, names, labels or transactions. `snapshots.ts` has those, and calls a
 * backend with the id of a layer whose lock it holds. A process may be killed inside any method, so
 * {@linkcode SnapshotBackend.remove} must be able to remove a layer in any state.
 *
 * Drivers commit in one of two ways. Either the active layer itself becomes the committed one: then
 * {@linkcode SnapshotBackend.layerFor} returns no layer for a committed snapshot, and
 * {@linkcode SnapshotBackend.seal} ends the writing. Or {@linkcode SnapshotBackend.freeze} makes
 * the committed layer as a copy, and the active layer is removed. A driver of the first kind may
 * implement {@linkcode SnapshotBackend.freeze} as well, for a layer that must be committed although
 * it is in use.
 *
 * @module
 */
import type { IdMaps } from "../base/id_maps.ts";
import type { StatusLine } from "../base/status.ts";
import type { Home } from "../store/home.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import type { SnapshotLimits } from "./limits.ts";
import type { SnapshotKind, Usage } from "./snapshotter.ts";
import type { LayerUse } from "../mount/uses.ts";
import type { ApplyTarget } from "../tar/apply/apply_options.ts";
import type { NativeDiff } from "../tar/export/delta.ts";

/** A layer and those below it. */
export interface LayerChain {
  readonly layer: string;
  readonly kind: SnapshotKind;
  /** The layers below, the direct parent first; all of them committed. */
  readonly parents: readonly string[];
}

/**
 * Returns true for a mount of a layer that does not count as a use. If `isShared` is true, the
 * mount may show another layer, made of the same directories.
 */
export type IsNoUse = (use: LayerUse, isShared?: boolean) => boolean;

/** The default: every mount is a use. */
export const EVERY_MOUNT: IsNoUse = () => false;

/** No mount is a use: for callers that know all mounts, including detached ones. */
export const NO_MOUNT: IsNoUse = () => true;

/** The options for making a layer. */
export interface PrepareOptions {
  /** None by default. {@linkcode SnapshotBackend.checkLimits} has accepted them. */
  readonly limits?: SnapshotLimits;
  /**
   * Whether a layer of an image is unpacked into it, which may get its parent only at the commit.
   * Then its mount must keep whiteouts that are written to it. False by default; ignored for a
   * layer that has a parent.
   */
  readonly isUnpacked?: boolean;
  /**
   * Whether its space is asked for often, like that of a container. Then it gets counters, if the
   * file system has them. False by default.
   */
  readonly isCounted?: boolean;
  /**
   * The id maps with which a client mounts it ({@linkcode SnapshotBackend.mounts}): its root
   * belongs to a host id. None by default. {@linkcode SnapshotBackend.checkRemap} has allowed them.
   */
  readonly remap?: IdMaps;
}

/** The primitives of a driver for snapshots. */
export interface SnapshotBackend {
  readonly name: string;
  readonly home: Home;
  /**
   * Whether a layer's content is independent of its parent. Only then a commit can name another
   * parent.
   */
  readonly rebases: boolean;
  /**
   * Whether the mounts of a layer stay the same until it is committed or removed, and need no
   * preparation. Then a service may repeat an answer of {@linkcode mounts}. False by default.
   */
  readonly mountsStay?: boolean;

  /**
   * The id (`ids.ts`) of the layer, if the layout derives it from the key or name. `undefined` if
   * any id is allowed and, for `committed`, if the active layer becomes the committed one.
   */
  layerFor(kind: SnapshotKind, name: string): string | undefined;

  /**
   * Creates the layer of an active snapshot or a view, completely or not at all. Anything already
   * stored under this id was left by a power failure and is deleted.
   *
   * @throws {VeneerError} `limit exceeded` if so many layers cannot be mounted, or if there is no
   * space
   */
  prepare(chain: LayerChain, options?: PrepareOptions): void;

  /**
   * Refuses limits that this home cannot enforce.
   *
   * @param what the option or label that asks for the limits, for the message
   * @throws {VeneerError} `not supported` with the reason
   */
  checkLimits(limits: SnapshotLimits, what: string): void;

  /**
   * Refuses mounts with mapped ids by clients, if this home's layers do not support them. Left out
   * if the driver never supports them.
   *
   * @param what the option that asks for it, for the message
   * @throws {VeneerError} `not supported` with the reason
   */
  checkRemap?(what: string): void;

  /**
   * Ends the writing to a layer that itself becomes the committed one. Afterwards all written data
   * has at least reached the file system. The commit can still fail or be killed: then
   * {@linkcode mounts} must work as before.
   *
   * @throws {VeneerError} `in use` with the mount point, if the layer is mounted and the driver
   * does not allow that. A store that ignores mounts then calls {@linkcode freeze}.
   */
  seal(chain: LayerChain): void;

  /**
   * Makes the committed layer from the active one, even if programs still write to that. Otherwise
   * like {@linkcode prepare}.
   */
  freeze(chain: LayerChain, committed: string): void;

  /**
   * Writes a sealed or frozen layer to disk, with all names on the path to it. Left out if sealing
   * and freezing do that.
   *
   * @throws {SyscallError} if data could not be written
   */
  writeOut?(layer: string): void;

  /**
   * Refuses a layer that is mounted in any mount namespace, or whose detached mount is still used,
   * if the kernel reports that. A layer with a mount inside it is always refused.
   *
   * @param isNoUse returns true for mounts that are not uses; by default every mount is a use
   * @throws {VeneerError} `in use` with the mount point, the namespace and a process
   */
  checkUnused(chain: LayerChain, isNoUse?: IsNoUse): void;

  /**
   * Deletes a layer of any kind, even one that is half made or half removed. It is no error if the
   * layer does not exist.
   */
  remove(layer: string): void;

  /** The sorted ids of all layers on disk, including those that are half made. */
  list(): string[];

  /**
   * The mounts of an active layer or a view. Devices that they need are activated first.
   *
   * @param remap the id maps with which the client mounts it; those of {@linkcode prepare}
   * @param isNew whether {@linkcode prepare} has just made the layer, and so has opened it and its
   * parent without following links
   */
  mounts(chain: LayerChain, remap?: IdMaps, isNew?: boolean): Mount[];

  /** See {@linkcode Mappable}. */
  checkMapped?(): void;

  /** The same as a plan for mounting it at an existing directory. */
  plan(chain: LayerChain, target: string): MountPlan;

  /**
   * Called before the mount at a path is unmounted without its plan. Saves data to the layer that
   * only the mount has. A failure becomes a warning.
   */
  beforeUnmount?(target: string): void;

  /**
   * The directory and form in which a tar is applied to an active layer without a mount. If this is
   * left out or `undefined`, the tar is applied to the mounted tree.
   */
  applyTarget?(chain: LayerChain): ApplyTarget | undefined;

  /** See `LayerBackend.isTreeOwn`. */
  readonly isTreeOwn?: boolean;

  /**
   * Called after a tar was applied and before the layer counts as complete: writes the data that
   * the layer's form needs and a tar does not contain.
   */
  finishApply?(chain: LayerChain): void;

  /**
   * Called after {@linkcode finishApply}. Left out unless the layer's file system could lose
   * content later without an error.
   *
   * @param directory the layer's root, opened before the first entry was written
   * @throws {VeneerError} `limit exceeded` with the full device, if there was no space for the
   * content
   */
  ensureStored?(layer: string, directory: number): void;

  /**
   * The changes of a layer of any kind against its parent, if they can be read directly. If this is
   * left out or `undefined`, mounted trees are compared.
   */
  nativeDiff?(chain: LayerChain): NativeDiff | undefined;

  /**
   * The directory with the whole tree of a layer of any kind, for drivers that need no mount to
   * read it.
   */
  tree?(layer: string): string;

  /** See `Snapshotter.openFiles`. Left out by drivers whose layers are directories. */
  openFiles?(layer: string, scope: DisposableStack, isRead: boolean): number;

  /**
   * The disk space in bytes and the inodes that a layer adds to its parent. Unlike the other
   * methods it is called without the layer's lock. Errors are ignored if the layer is committed or
   * removed meanwhile.
   */
  usage(chain: LayerChain): Usage;

  /** Whether {@linkcode usage} of an active layer reads counters; false if this is left out. */
  hasCounters?(layer: string): boolean;

  /**
   * The snapshots of an earlier form of the layout, parents before children, with their layers at
   * the places of this form; empty if there are none. Called once, when a store's database is made.
   */
  importable(): readonly ImportedSnapshot[];

  /**
   * Called after the import: removes the records that {@linkcode importable} read. It is no error
   * if they are missing.
   */
  imported(): void;

  /**
   * Labels with which the driver publishes facts about a layer's snapshot. Callers cannot change
   * them.
   */
  labels?(layer: string): ReadonlyMap<string, string>;

  /** The driver's state and settings. */
  status(): readonly StatusLine[];

  /**
   * Called by `cleanup` if there is no active snapshot: releases resources that only active
   * snapshots need.
   */
  release(): void;
}

/** A snapshot of an earlier form. */
export interface ImportedSnapshot {
  readonly kind: SnapshotKind;
  readonly name: string;
  /** `""` if there is none. */
  readonly parent: string;
  readonly layer: string;
  /** Microseconds since 1970. */
  readonly created: number;
}
