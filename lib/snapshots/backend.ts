/**
 * What a driver provides for snapshots: layers, made and removed as a whole, and how they are mounted.
 *
 * A backend knows no keys, names, labels or transactions; `snapshots.ts` has those, and calls a backend with
 * the id of a layer whose lock it holds. A process may be killed inside any method: {@linkcode
 * SnapshotBackend.remove} must bring whatever is there under an id to an end.
 *
 * Drivers differ in one thing beyond the making of layers: whether the layer that was written to becomes the
 * committed one as it is, or the committed one is made from it. The former have {@linkcode
 * SnapshotBackend.layerFor} give no name for a committed snapshot, and {@linkcode SnapshotBackend.seal} ends
 * the writing; the latter {@linkcode SnapshotBackend.freeze} a copy, and the active layer is removed then. A driver of
 * the former kind may have that as well, for a layer that is in use and must be committed all the same.
 *
 * @module
 */
import type { StatusLine } from "../base/status.ts";
import type { Home } from "../store/home.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import type { SnapshotKind, Usage } from "./snapshotter.ts";
import type { LayerUse } from "../mount/uses.ts";

/** A layer and those below it. */
export interface LayerChain {
  readonly layer: string;
  readonly kind: SnapshotKind;
  /** The layers below, the direct parent first; all of them committed. */
  readonly parents: readonly string[];
}

/**
 * Tells whether a mount of a layer is nobody's use of it. One that is shared may be another layer's that is made of
 * the same directories.
 */
export type IsNoUse = (use: LayerUse, isShared?: boolean) => boolean;

/** What counts if nothing else is said: every mount. */
export const EVERY_MOUNT: IsNoUse = () => false;

/** What counts for who knows that all mounts are well, also those attached nowhere: none. */
export const NO_MOUNT: IsNoUse = () => true;

/** The primitives of a driver for snapshots. */
export interface SnapshotBackend {
  readonly name: string;
  readonly home: Home;
  /** Whether a layer's content is the same on any parent: what a commit with another parent needs. */
  readonly rebases: boolean;

  /**
   * The layer that a snapshot must have, if the layout says: an id (`ids.ts`) that belongs to this
   * key or name alone. `undefined` if any will do; for `committed`, if the active layer becomes it.
   */
  layerFor(kind: SnapshotKind, name: string): string | undefined;

  /**
   * Makes the layer of an active snapshot or a view; it appears as a whole or not at all. What is
   * there under its id is nobody's, left by a power failure, and goes.
   *
   * @throws {VeneerError} `limit exceeded` if so many layers could not be mounted, or there is no
   * room
   */
  prepare(chain: LayerChain): void;

  /**
   * Ends the writing to a layer that becomes committed as it is. What was written is then at least in the
   * kernel's hands as of one file system. A commit can still fail, or be killed: {@linkcode mounts} must
   * work then as it did before.
   *
   * @throws {VeneerError} `in use`, with the mount point, if it is mounted and the driver cannot have that: a store
   * that ignores mounts has it {@linkcode freeze} the layer then
   */
  seal(chain: LayerChain): void;

  /** Makes the committed layer from the active one, whoever still writes to that; like `prepare` otherwise. */
  freeze(chain: LayerChain, committed: string): void;

  /**
   * Refuses a layer that somebody uses: that is mounted in whatever mount namespace, or detached and still held
   * as far as the kernel tells. One in which something is mounted is refused whatever counts.
   *
   * @param isNoUse tells the mounts that do not count; none, unless given
   * @throws {VeneerError} `in use` with the mount point, the namespace and a process
   */
  checkUnused(chain: LayerChain, isNoUse?: IsNoUse): void;

  /** Deletes a layer of any kind, also a half-made or half-removed one. Nothing there is not an error. */
  remove(layer: string): void;

  /** The ids of all layers on disk, also half-made ones, sorted. */
  list(): string[];

  /** How an active layer or a view is mounted, after what must be activated for it was. */
  mounts(chain: LayerChain): Mount[];

  /** The same as a plan, at an existing directory. */
  plan(chain: LayerChain, target: string): MountPlan;

  /**
   * Called before the mount at a path is taken down other than by its plan: writes into the layer what only
   * that mount knows. What fails there is warned of.
   */
  beforeUnmount?(target: string): void;

  /**
   * What a layer adds to its parent, in bytes of disk space and in inodes. Unlike the others it is called without
   * the layer's lock: what it then throws of a layer that is being committed or removed is not told to anybody.
   */
  usage(chain: LayerChain): Usage;

  /**
   * Snapshots of an earlier form of the layout, parents before children, their layers where this
   * form wants them; empty if there are none. Called once, when a store's database is made.
   */
  importable(): readonly ImportedSnapshot[];

  /** Removes what {@linkcode importable} was read from, after it is recorded; nothing there is not an error. */
  imported(): void;

  /** Labels of a layer's snapshot that tell what the driver knows of it, and that no caller can change. */
  labels?(layer: string): ReadonlyMap<string, string>;

  /** What the driver found and uses. */
  status(): readonly StatusLine[];

  /** Called by `cleanup`, when there is no active snapshot: gives back what is held while there may be one. */
  close(): void;
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
