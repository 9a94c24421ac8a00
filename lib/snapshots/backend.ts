/**
 * The driver's side of snapshots: layers, created and removed as a whole, and their mounts.
 *
 * A backend knows no keys, names, labels or transactions; `snapshots.ts` has those, and calls a
 * backend with the id of a layer whose lock it holds. A process may be killed inside any method:
 * {@linkcode SnapshotBackend.remove} must be able to remove a layer in any state.
 *
 * Drivers commit in one of two ways. Either the active layer itself becomes the committed one:
 * {@linkcode SnapshotBackend.layerFor} then names no layer for a committed snapshot, and
 * {@linkcode SnapshotBackend.seal} ends the writing. Or {@linkcode SnapshotBackend.freeze} makes
 * the committed layer as a copy, and the active layer is removed. A driver of the first kind may
 * have {@linkcode SnapshotBackend.freeze} as well, for a layer that is in use and must be committed
 * nevertheless.
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
 * Returns true for a mount of a layer that is not a use of it. A mount may also show another layer
 * made of the same directories.
 */
export type IsNoUse = (use: LayerUse, isShared?: boolean) => boolean;

/** The default: every mount is a use. */
export const EVERY_MOUNT: IsNoUse = () => false;

/** For callers that know all mounts, detached ones included: no mount is a use. */
export const NO_MOUNT: IsNoUse = () => true;

/** How a layer is made. */
export interface PrepareOptions {
  /** None by default; {@linkcode SnapshotBackend.checkLimits} has taken them. */
  readonly limits?: SnapshotLimits;
  /**
   * Whether a layer of an image is unpacked into it, which may get its parent at the commit only: it
   * must be mounted so that whiteouts written to it are kept. False by default; without a meaning
   * for a layer that has a parent.
   */
  readonly isUnpacked?: boolean;
  /**
   * Whether its space is asked for often, as a container's is: it is to have counters if this file
   * system keeps them. False by default.
   */
  readonly isCounted?: boolean;
  /**
   * The maps with which a client mounts it ({@linkcode SnapshotBackend.mounts}): its root is owned
   * by a host id. None by default; {@linkcode SnapshotBackend.checkRemap} has allowed them.
   */
  readonly remap?: IdMaps;
}

/** The primitives of a driver for snapshots. */
export interface SnapshotBackend {
  readonly name: string;
  readonly home: Home;
  /**
   * Whether a layer's content is the same on any parent. A commit on another parent requires it.
   */
  readonly rebases: boolean;
  /**
   * Whether the mounts of a layer are always the same ones, until it is committed or removed, and
   * need nothing done before they are made. A service may then answer what
   * {@linkcode mounts} answered before. False by default.
   */
  readonly mountsStay?: boolean;

  /**
   * The id (`ids.ts`) of the layer that the layout prescribes for this key or name, and for no
   * other. `undefined` if any id is allowed; for `committed`, if the active layer becomes the
   * committed one.
   */
  layerFor(kind: SnapshotKind, name: string): string | undefined;

  /**
   * Creates the layer of an active snapshot or a view; it appears as a whole or not at all.
   * Anything already stored under this id was left by a power failure and is deleted.
   *
   * @throws {VeneerError} `limit exceeded` if so many layers could not be mounted, or there is no
   * space
   */
  prepare(chain: LayerChain, options?: PrepareOptions): void;

  /**
   * Refuses limits that layers of this home cannot be held to.
   *
   * @param what the option or label that asks for them, for the message
   * @throws {VeneerError} `not supported` with the reason
   */
  checkLimits(limits: SnapshotLimits, what: string): void;

  /**
   * Refuses to have clients mount layers with ids mapped if this home's cannot be. Left out if the
   * driver's mounts cannot be at all.
   *
   * @param what the option that asks for it, for the message
   * @throws {VeneerError} `not supported` with the reason
   */
  checkRemap?(what: string): void;

  /**
   * Ends the writing to a layer that itself becomes the committed one. All written data has then at
   * least reached the file system. The commit can still fail or be killed; {@linkcode mounts} must
   * then work as before.
   *
   * @throws {VeneerError} `in use`, with the mount point, if it is mounted and the driver does not
   * allow that; a store that ignores mounts then calls {@linkcode freeze}
   */
  seal(chain: LayerChain): void;

  /**
   * Makes the committed layer from the active one, even if that is still written to. Like `prepare`
   * otherwise.
   */
  freeze(chain: LayerChain, committed: string): void;

  /**
   * Writes a layer that was sealed or frozen to disk, with every name that leads to it. Left out if
   * sealing and freezing see to that.
   *
   * @throws {SyscallError} if something could not be written
   */
  writeOut?(layer: string): void;

  /**
   * Refuses a layer that is in use: one that is mounted in any mount namespace, or detached and
   * still held, as far as the kernel reports that. A layer with a mount inside it is refused in any
   * case.
   *
   * @param isNoUse returns true for mounts that are not uses; by default every mount is one
   * @throws {VeneerError} `in use` with the mount point, the namespace and a process
   */
  checkUnused(chain: LayerChain, isNoUse?: IsNoUse): void;

  /**
   * Deletes a layer of any kind, also a half-made or half-removed one. A missing layer is not an
   * error.
   */
  remove(layer: string): void;

  /** The ids of all layers on disk, also half-made ones, sorted. */
  list(): string[];

  /**
   * The mounts of an active layer or a view. Devices that they need are activated first.
   *
   * @param remap the maps with which the client is to mount it; those of {@linkcode prepare}
   */
  mounts(chain: LayerChain, remap?: IdMaps): Mount[];

  /** The same as a plan, at an existing directory. */
  plan(chain: LayerChain, target: string): MountPlan;

  /**
   * Called before the mount at a path is taken down other than by its plan: saves data that only
   * the mount has into the layer. A failure is a warning.
   */
  beforeUnmount?(target: string): void;

  /**
   * The directory and form in which a tar is applied to an active layer without mounting it. If
   * this is left out or `undefined`, it is applied to the mounted tree.
   */
  applyTarget?(chain: LayerChain): ApplyTarget | undefined;

  /**
   * Called after a tar was applied and before the layer counts as complete: writes what the layer's
   * form needs beside what a tar says.
   */
  finishApply?(chain: LayerChain): void;

  /**
   * Called after that, if the layer's file system could lose its content later without an error.
   *
   * @param directory the layer's root, opened before the first entry was written
   * @throws {VeneerError} `limit exceeded` with the full device, if there was no space for it
   */
  ensureStored?(layer: string, directory: number): void;

  /**
   * The changes of a layer of any kind to its parent, if they can be read directly. If this is left
   * out or `undefined`, mounted trees are compared.
   */
  nativeDiff?(chain: LayerChain): NativeDiff | undefined;

  /**
   * The directory that is the whole tree of a layer of any kind, for drivers that need no mount to
   * read it.
   */
  tree?(layer: string): string;

  /**
   * The disk space in bytes and the inodes that a layer adds to its parent. Unlike the other
   * methods it is called without the layer's lock; errors about a layer that is being committed or
   * removed meanwhile are dropped.
   */
  usage(chain: LayerChain): Usage;

  /** Whether `usage` reads an active layer's from counters; false if this is left out. */
  hasCounters?(layer: string): boolean;

  /**
   * Snapshots of an earlier form of the layout, parents before children, their layers already where
   * this form expects them; empty if there are none. Called once, when a store's database is made.
   */
  importable(): readonly ImportedSnapshot[];

  /**
   * Removes the records that {@linkcode importable} read, after the import. Missing records are not
   * an error.
   */
  imported(): void;

  /**
   * Labels by which the driver publishes facts of a layer's snapshot. Callers cannot change them.
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
