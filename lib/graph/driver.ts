/**
 * The contract of a graph driver.
 *
 * A *layer* has an id and at most one *parent*; its root file system is its parent's with the
 * layer's own changes on top. Layers are created empty, filled by applying a tar of changes (or by
 * mounting and writing), and never changed below a child. {@linkcode GraphDriver} is the interface
 * for commands, engines and programs; it has Docker's operations under Docker's names. `graph.ts`
 * implements it once for all drivers, over the primitives of `backend.ts`, which each driver
 * provides.
 *
 * @module
 */
import type { VeneerError } from "../base/errors.ts";
import type { FileArgument } from "../base/descriptors.ts";
import type { IdMaps } from "../base/id_maps.ts";
import type { OpenStore } from "../base/opened.ts";
import type { Mount } from "../mount/plan.ts";
import type { TransferOptions } from "../base/transfer_options.ts";
import type { ChangeIterator } from "../tree/changes.ts";

/**
 * A parent as callers name it: an id; `""` for none, the layer being taken whole; `undefined` for
 * the recorded one.
 */
export type ParentArgument = string | undefined;

/** Options of a new layer. */
export interface CreateOptions {
  /** The parent's id; without one the layer is a base layer. */
  readonly parent?: string;
  /** An SELinux label for the layer's files, if the driver writes labels. */
  readonly mountLabel?: string;
  /** `size=10G` and the like; keys in any case. */
  readonly storageOptions?: ReadonlyMap<string, string>;
}

/** Options of a mount. */
export interface GetOptions {
  /** An SELinux label: becomes the `context=` mount option. */
  readonly label?: string;
  /** Refuse writes through this mount. */
  readonly readOnly?: boolean;
  /**
   * Mount options for this mount alone, of those that the driver knows, such as overlay's
   * `volatile`.
   */
  readonly options?: readonly string[];
  /**
   * Map ids: the layer's files are seen, and written, with host ids, and have the container's on
   * disk. None by default; not of a layer that was made with maps.
   */
  readonly idMaps?: IdMaps;
}

/** Options of an unmount. */
export interface PutOptions {
  /** Detach a busy mount: it ends with its last user. */
  readonly lazy?: boolean;
  /** Also take down a mount at the layer's place that Veneer has no record of. */
  readonly force?: boolean;
}

/** A layer as listings show it. */
export interface LayerInfo {
  /** The id that it was created with. */
  readonly id: string;
  /** `""` for a base layer, `undefined` if it is not recorded. */
  readonly parent: string | undefined;
  /** An apply failed or was killed: only `apply`, which starts over, and `remove` are allowed. */
  readonly incomplete: boolean;
  /** The number of `get`s without a `put`. */
  readonly references: number;
  /** The path where it is mounted; absent if it is not. */
  readonly mountPoint?: string;
}

/**
 * A store of layers. Operations are safe against each other across processes, and against being
 * killed.
 *
 * Every method that takes an id throws {@linkcode VeneerError} `not found` for a layer that does
 * not exist and `invalid argument` for an invalid id.
 */
export interface GraphDriver extends OpenStore {
  /** The driver's facts about one layer, such as the paths of its directories. */
  getMetadata(id: string): ReadonlyMap<string, string>;

  /**
   * Creates a layer to apply a tar to.
   *
   * @throws `already exists`, `not found` (parent), `limit exceeded` (depth)
   */
  create(id: string, options?: CreateOptions): void;

  /**
   * Creates a layer for a container to write to: storage options such as `size` apply to these
   * layers.
   */
  createReadWrite(id: string, options?: CreateOptions): void;

  /**
   * Removes a layer. @throws `in use` if it has children, references or a mount by another program,
   * or is being applied or read
   */
  remove(id: string): void;

  /**
   * Mounts a layer, or counts one more user of its mount; returns the path of its root. A layer
   * that has children is mounted read-only.
   *
   * @throws `in use` if another program mounted it, or if it is mounted with another mode
   * (read-only or writable), label, `volatile` or id map; `not supported` if ids cannot be mapped
   */
  get(id: string, options?: GetOptions): string;

  /**
   * The reverse of {@linkcode get}: the last one unmounts. The mount of the home on itself, which
   * keeps its mounts private, stays for the next {@linkcode get} of this process: it is released by
   * {@linkcode OpenStore.close}, at the process's end, or by {@linkcode cleanup}.
   *
   * @throws `failed precondition` if it is not mounted, `in use` if the mount is busy or was made
   * by another program
   */
  put(id: string, options?: PutOptions): void;

  /** Whether there is a layer with this id. */
  exists(id: string): boolean;

  /** Every layer, sorted by id. */
  layers(): LayerInfo[];

  /** One layer. */
  layer(id: string): LayerInfo;

  /**
   * Unmounts mounts of killed commands, finishes interrupted removals, and releases the home.
   * Returns a line for each act.
   *
   * @param failed gets each failure, after which the others are still processed; without it,
   * failures are warnings
   */
  cleanup(failed?: (error: VeneerError) => void): string[];

  /**
   * Writes the tar of a layer's changes against a parent; returns bytes written.
   *
   * @param output if it is a path, its file appears, or is replaced, when the tar is complete
   */
  diff(
    id: string,
    parent: ParentArgument,
    output: FileArgument,
    options?: TransferOptions,
  ): number;

  /**
   * The changes of a layer against a parent, sorted by path, each directory before its content. No
   * process changes or removes the layer until the last change was read, the loop over them ended,
   * or the iterator was disposed of.
   */
  changes(id: string, parent: ParentArgument): ChangeIterator;

  /**
   * Applies a tar, plain, gzip or zstd, all or nothing: after a failure the layer is incomplete.
   * Returns the bytes of the files applied.
   */
  applyDiff(
    id: string,
    parent: ParentArgument,
    input: FileArgument,
    options?: TransferOptions,
  ): number;

  /** Bytes of the files that {@linkcode changes} names. */
  diffSize(id: string, parent: ParentArgument): number;

  /**
   * The bytes of disk space that a layer adds to its parent's, counted as cheaply as the driver
   * can. No lock is held meanwhile: a change during the count may be included or not.
   */
  diskUsage(id: string): number;

  /** When the layer was created, in microseconds since 1970; `undefined` if it is unknown. */
  createdAt(id: string): number | undefined;

  /**
   * The same of several layers at once, without those for which it is unknown, which are missing, or
   * which are damaged.
   */
  creationTimes(ids: readonly string[]): ReadonlyMap<string, number>;

  /**
   * Opens the root of a layer's files for a repair, if layers are devices: through a mount that is
   * attached nowhere and may write even if others stand on it. Otherwise `undefined`: then the files
   * are in a directory of the home. The caller keeps the layer from being used.
   *
   * @param scope unmounts it
   * @param isRead whether it is only read; false by default
   * @throws `in use` if it is mounted
   */
  openFiles(id: string, scope: DisposableStack, isRead?: boolean): number | undefined;

  /**
   * The mounts by which another program mounts the layer.
   *
   * @throws `limit exceeded` if mount options cannot express it
   */
  mounts(id: string, options?: GetOptions): Mount[];
}
