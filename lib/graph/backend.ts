/**
 * The driver's side of layers: the primitives in which drivers differ.
 *
 * `graph.ts` makes a `GraphDriver` of them. Locks, reference counts, incomplete layers, the rules
 * of removal and the choice between a native diff and the tree comparison are the graph's; a
 * backend never takes a lock of its own.
 *
 * @module
 */
import type { ApplyTarget } from "../tar/apply/apply_options.ts";
import type { NativeDiff } from "../tar/export/delta.ts";
import type { IdMaps } from "../base/id_maps.ts";
import type { StatusLine } from "../base/status.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import type { LayerMarks } from "../mount/uses.ts";
import type { Home } from "../store/home.ts";
import type { GetOptions } from "./driver.ts";
import type { ParentRecords } from "./parent_records.ts";

/** Properties of a new layer: `CreateOptions` checked by the graph. */
export interface LayerSpec {
  /** An existing, complete layer. */
  readonly parent: string | undefined;
  /** Made by `createReadWrite`. */
  readonly readWrite: boolean;
  readonly mountLabel: string | undefined;
  /** Keys in lower case. */
  readonly storageOptions: ReadonlyMap<string, string>;
}

/**
 * Returns a name in {@linkcode Home.staging} for this transfer alone, which is not a layer's id. No
 * other process sweeps it during the transfer, and the graph disposes of it afterwards.
 */
export type Scratch = () => string;

/**
 * The primitives of a driver.
 *
 * The graph calls them with an id that is well-formed. It holds the layer's lock around every call
 * that names a layer, and the store's lock around {@linkcode create} and {@linkcode retire}. A
 * process may be killed inside any of them: {@linkcode dispose} must be able to delete a half-made
 * or half-removed layer.
 */
export interface LayerBackend {
  readonly name: string;
  readonly home: Home;
  /** Those that the store was opened with; a layer's own are `idMapsOf` in `id_map_records.ts`. */
  readonly idMaps: IdMaps;

  status(): readonly StatusLine[];
  metadata(id: string): ReadonlyMap<string, string>;

  /**
   * Called before layers are created, removed, mounted for a user or applied to, for layouts whose
   * state another program may keep in its memory.
   *
   * @throws {VeneerError} `in use` with the program, if it is running
   */
  requireSole?(): void;

  /** Throws `invalid argument` for an id that this driver's layout reserves. */
  checkId(id: string): void;

  /** The ids of all completely created layers. */
  list(): string[];
  exists(id: string): boolean;

  /** The recorded parent; `""` for a base layer, `undefined` if it is unknown. */
  parent(id: string): string | undefined;

  /** The records that {@linkcode parent} reads, for a look at all layers at once. */
  readonly parentRecords: ParentRecords;

  /**
   * Creates a layer: it must appear as a whole (renamed into place from {@linkcode Home.staging})
   * or not at all.
   */
  create(id: string, spec: LayerSpec): void;

  /** Takes a layer out of sight in one rename, to {@linkcode Home.staging}. Quick: others wait. */
  retire(id: string): void;

  /**
   * Deletes the half-made layer of a `create`, or the layer moved away by `retire`, under this id.
   * May be slow. Idempotent.
   */
  dispose(id: string): void;

  /**
   * Whether an entry staged under an id can be renamed, to a name that is not an id, and disposed
   * of under that. The id is then free again, even if the entry cannot be deleted.
   */
  readonly movesStaged?: boolean;

  /**
   * Resets a layer to its state after `create`. Its content may stay staged under the id, for
   * {@linkcode dispose}.
   */
  reset(id: string): void;

  /** Whether the layer has no changes, as after `create`. */
  isPristine(id: string): boolean;

  /** The path where {@linkcode plan} mounts the layer; known also for one too damaged to mount. */
  mountPoint(id: string): string;

  /** The directories of this layer alone, which are deleted with it. */
  trees(id: string): readonly string[];

  /** The marks by which its mounts are recognised, made by any program. */
  marks(id: string): LayerMarks;

  /**
   * Whether any mount writes to the layer's directory, detached ones included. Left out by drivers
   * that cannot tell; false on kernels that do not report it.
   */
  isUpperInUse?(id: string): boolean;

  /**
   * Whether a mark in the layer records that it got a child, and so must not change any more. Left
   * out by drivers whose records of parents are read instead.
   */
  isCommitted?(id: string): boolean;

  /**
   * Removes that mark from the parent of the layer staged under an id, if that was its last child.
   * Called with the store's lock held, before {@linkcode dispose}.
   *
   * @param hasChildren returns whether a layer has children; only called if there is a mark
   */
  uncommitParent?(id: string, hasChildren: (parent: string) => boolean): void;

  /**
   * The bytes of disk space that the layer adds to its parent's. Called without the layer's lock,
   * because a count may take long.
   *
   * @param isLeaf whether the layer has no children, with which it would share its data
   */
  diskUsage(id: string, isLeaf: boolean): number;

  /**
   * The storage options by which another layer would get this one's limits. Left out by drivers
   * that limit none.
   */
  storageOptions?(id: string): ReadonlyMap<string, string>;

  /** When it was created, in microseconds since 1970; `undefined` if it is unknown. */
  createdAt(id: string): number | undefined;

  /** See {@linkcode Mappable}. A plan with `idMaps` then always has a mount. */
  checkMapped?(): void;

  /** The plan of its mount; without steps, and with another path, if no mount is needed. */
  plan(id: string, options: GetOptions): MountPlan;

  /**
   * Called before a mount is taken down other than by its plan: saves data that only the mount has
   * into the layer. A failure is a warning, since the mount is taken down in any case.
   */
  beforeUnmount?(id: string): void;

  /**
   * Whether the layer's mount is incomplete, because a process was killed inside a plan of several
   * calls. Called with the layer locked, so no process is mounting it now.
   */
  isHalfMounted?(id: string): boolean;

  /** The same mount as triples. */
  mounts(id: string, options: GetOptions): Mount[];

  /**
   * The directory and form in which a tar is applied without mounting; `undefined` if it is applied
   * to the mounted tree.
   */
  applyTarget(id: string): ApplyTarget | undefined;

  /**
   * Whether an apply to the mounted tree can be recorded: the tree is the layer's alone, and the
   * kernel changes nothing of it.
   */
  readonly isTreeOwn?: boolean;

  /**
   * Called after a tar was applied and before the layer counts as complete: writes the data
   * that the layer's form needs and a tar does not contain.
   */
  finishApply?(id: string): void;

  /**
   * Called after a tar was applied and before the layer counts as complete: ensures that the
   * content is stored, if the layer's file system could lose it later without an error.
   *
   * @param directory the layer's root, opened before the first entry was written
   * @throws {VeneerError} `limit exceeded` with the full device, if there was no space for it
   */
  ensureStored?(id: string, directory: number): void;

  /**
   * The layer's changes to its direct parent, if they can be read directly; else `undefined`.
   *
   * @param scratch returns a name for temporary files of the read
   */
  nativeDiff(id: string, scratch: Scratch): NativeDiff | undefined;

  /** See `GraphDriver.openFiles`. Left out by drivers whose layers are directories. */
  openFiles?(id: string, scope: DisposableStack, isRead: boolean): number;

  /** Called by `cleanup`, when no layer is in use. */
  release(): void;
}
