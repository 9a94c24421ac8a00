/**
 * The contract of a graph driver.
 *
 * A *layer* has an id and at most one *parent*; its root file system is its parent's with the layer's own
 * changes on top. Layers are created empty, filled by applying a tar of changes (or by mounting and
 * writing), and never changed below a child. {@linkcode GraphDriver} is what commands, engines and programs
 * use; it has Docker's operations under Docker's names. `graph.ts` implements it once for all drivers, over
 * what `backend.ts` says that a driver provides.
 *
 * @module
 */
import type { VeneerError } from "../base/errors.ts";
import type { StatusLine } from "../base/status.ts";
import type { Mount } from "../mount/plan.ts";
import type { Change } from "../tree/changes.ts";

/**
 * A parent as callers name it: an id; `""` for none, the layer being taken whole; `undefined` for the one
 * that is recorded.
 */
export type ParentArgument = string | undefined;

/** What a layer is created with. */
export interface CreateOptions {
  /** The parent's id; none makes a base layer. */
  readonly parent?: string;
  /** An SELinux label for the layer's files, if the driver writes labels. */
  readonly mountLabel?: string;
  /** `size=10G` and the like; keys in any case. */
  readonly storageOptions?: ReadonlyMap<string, string>;
}

/** How a layer is mounted. */
export interface GetOptions {
  /** An SELinux label: becomes the `context=` mount option. */
  readonly label?: string;
  readonly readOnly?: boolean;
  /** Mount options for this mount alone that the driver knows, such as overlay's `volatile`. */
  readonly options?: readonly string[];
}

/** How a layer is unmounted. */
export interface PutOptions {
  /** Detach a mount that is busy: it goes when its last user does. */
  readonly lazy?: boolean;
  /** Take down a mount at the layer's place also if Veneer has no record of having made it. */
  readonly force?: boolean;
}

/** What a transfer of a layer's content may be given. */
export interface TransferOptions {
  /** Called now and then with the bytes of tar so far. */
  readonly onProgress?: (bytes: number) => void;
  /**
   * Of a tar to be applied: its digest, its size or the clean end of a request's body proves that it is whole.
   * One that ends behind an entry is taken then, with a warning; without this it counts as cut short.
   */
  readonly provenWhole?: boolean;
}

/** A layer as listings show it. */
export interface LayerInfo {
  readonly id: string;
  /** `""` for a base layer, `undefined` if no record says. */
  readonly parent: string | undefined;
  /** An apply failed or was killed: nothing may use it but `apply`, which starts over, and `remove`. */
  readonly incomplete: boolean;
  /** How many `get`s have had no `put` yet. */
  readonly references: number;
  /** Where it is mounted. */
  readonly mountPoint?: string;
}

/**
 * A store of layers. Operations are safe against each other across processes, and against being killed.
 *
 * Every method that takes an id throws {@linkcode VeneerError} `not found` for a layer that does not exist
 * and `invalid argument` for an id that could not be one.
 */
export interface GraphDriver {
  /** The driver's name, such as `"overlay2"`. */
  readonly name: string;
  /** Its directory, `<root>/<driver>`. */
  readonly home: string;

  /** What the driver found and uses. */
  status(): readonly StatusLine[];

  /** What the driver knows of one layer, such as where its directories are. */
  getMetadata(id: string): ReadonlyMap<string, string>;

  /** Makes a layer to apply a tar to. @throws `already exists`, `not found` (parent), `limit exceeded` (depth) */
  create(id: string, options?: CreateOptions): void;

  /** Makes a layer for a container to write to: storage options such as `size` are for these. */
  createReadWrite(id: string, options?: CreateOptions): void;

  /**
   * Removes a layer. @throws `in use` if it has children, references or a mount of somebody else's,
   * or is being applied or read
   */
  remove(id: string): void;

  /**
   * Mounts a layer, or counts one more user of its mount; returns the path of its root. A layer
   * that has children is mounted read-only.
   *
   * @throws `in use` if it is in use read-only and wanted writable or the other way round, with
   * another label or otherwise volatile, and if somebody else has it mounted
   */
  get(id: string, options?: GetOptions): string;

  /**
   * The reverse of {@linkcode get}: the last one unmounts. What keeps the home's mounts private, a mount of the home on
   * itself, stays for the next {@linkcode get} of this process: it goes at the process's end, or with
   * {@linkcode cleanup}.
   *
   * @throws `failed precondition` if it is not mounted, `in use` if the mount is busy or somebody
   * else's
   */
  put(id: string, options?: PutOptions): void;

  exists(id: string): boolean;

  /** Every layer, sorted by id. */
  layers(): LayerInfo[];

  /** One layer. */
  layer(id: string): LayerInfo;

  /**
   * Unmounts what killed commands left, finishes interrupted removals, releases the home; returns
   * what it did.
   *
   * @param failed told of each thing that could not be done, which keeps it from no other; if it is
   * left out, warnings say so
   */
  cleanup(failed?: (error: VeneerError) => void): string[];

  /** Writes the tar of a layer's changes against a parent to a descriptor; returns bytes written. */
  diff(id: string, parent: ParentArgument, output: number, options?: TransferOptions): number;

  /** What a layer changes of a parent, in the order of `comparePaths`. */
  changes(id: string, parent: ParentArgument): Iterable<Change>;

  /**
   * Applies a tar from a descriptor, plain, gzip or zstd, all or nothing: a layer on which this failed is
   * incomplete. Returns the bytes of the files applied.
   */
  applyDiff(id: string, parent: ParentArgument, input: number, options?: TransferOptions): number;

  /** Bytes of the files that {@linkcode changes} names. */
  diffSize(id: string, parent: ParentArgument): number;

  /**
   * How someone else would mount the layer.
   *
   * @throws `limit exceeded` if mount options cannot say it
   */
  mounts(id: string, options?: GetOptions): Mount[];
}
