/**
 * What a driver provides for layers: the primitives in which drivers differ.
 *
 * `graph.ts` makes a `GraphDriver` of them. Locks, reference counts, incomplete layers, the rules of
 * removal and the choice between a native diff and the tree comparison are the graph's; a backend never takes a
 * lock of its own.
 *
 * @module
 */
import type { IdMaps } from "../base/id_maps.ts";
import type { StatusLine } from "../base/status.ts";
import type { Mount, MountPlan } from "../mount/plan.ts";
import type { LayerMarks } from "../mount/uses.ts";
import type { Home } from "../store/home.ts";
import type { Change } from "../tree/changes.ts";
import type { WhiteoutForm } from "../tree/whiteouts.ts";
import type { GetOptions } from "./driver.ts";
import type { ParentRecords } from "./parent_records.ts";

/** What a layer is to be made with: `CreateOptions` after the graph checked it. */
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
 * Where a layer's own changes can be read without comparing trees:
 * - `upper`: a directory of changes and whiteouts over lowers, uppermost first;
 * - `listed`: the kernel lists the changes, and `root` is the whole tree to read them from.
 */
export type NativeDiff =
  | {
    readonly kind: "upper";
    readonly upper: string;
    readonly lowers: readonly string[];
    readonly form: "overlay" | "aufs";
  }
  | {
    readonly kind: "listed";
    readonly root: string;
    /** The parent's tree, none for a base layer. */
    readonly parentRoot: string | undefined;
    readonly changes: () => Iterable<Change>;
  };

/** Where a tar goes, and how deletions are written there. */
export interface ApplyTarget {
  readonly directory: string;
  readonly whiteouts: WhiteoutForm;
  /**
   * If the directory is only what the layer itself adds: those of the layers below, uppermost
   * first, which it is applied over.
   */
  readonly lowers?: readonly string[];
}

/**
 * Gives a name in {@linkcode Home.staging} that is this transfer's own: nobody else sweeps it while the
 * transfer goes on, and the graph disposes of it afterwards. It is no layer's id.
 */
export type Scratch = () => string;

/**
 * The primitives of a driver.
 *
 * The graph calls them with an id that is well-formed. It holds the layer's lock around every call that
 * names a layer, and the store's lock around {@linkcode create} and {@linkcode retire}. A process may be
 * killed inside any of them: {@linkcode dispose} must bring a half-made or half-removed layer to an end.
 */
export interface LayerBackend {
  readonly name: string;
  readonly home: Home;
  /** Those that the store was opened with; a layer's own are `idMapsOf` in `id_map_records.ts`. */
  readonly idMaps: IdMaps;

  status(): readonly StatusLine[];
  metadata(id: string): ReadonlyMap<string, string>;

  /**
   * Called before layers are made, removed, mounted for a user or applied to: for a layout of which another program
   * that works on it keeps the state in its memory.
   *
   * @throws {VeneerError} `in use` with the program, if it does so now
   */
  requireSole?(): void;

  /** Throws `invalid argument` for an id that this driver's layout has other uses for. */
  checkId(id: string): void;

  /** The ids of every layer that was fully made. */
  list(): string[];
  exists(id: string): boolean;

  /** The recorded parent; `""` for a base layer, `undefined` if nothing says. */
  parent(id: string): string | undefined;

  /** What {@linkcode parent} reads, for looking at all layers at once. */
  readonly parentRecords: ParentRecords;

  /** Makes a layer: it must appear as a whole (renamed into place from {@linkcode Home.staging}) or not at all. */
  create(id: string, spec: LayerSpec): void;

  /** Takes a layer out of sight in one rename, to {@linkcode Home.staging}. Quick: others wait. */
  retire(id: string): void;

  /** Deletes what `create` left half-made or `retire` put aside under this id. Slow is fine. Idempotent. */
  dispose(id: string): void;

  /**
   * Whether what is staged under an id can be given another name, which is no id, and be disposed of under that:
   * then an id is free again although what was staged under it cannot be deleted.
   */
  readonly movesStaged?: boolean;

  /** Empties a layer to what `create` made. */
  reset(id: string): void;

  /** Whether the layer has no changes of its own, as `create` made it. */
  isPristine(id: string): boolean;

  /** Where {@linkcode plan} mounts it, also for a layer too damaged to be mounted. */
  mountPoint(id: string): string;

  /** The directories that are the layer's alone and go with it. */
  trees(id: string): readonly string[];

  /** By what its mounts are recognised, whoever made them. */
  marks(id: string): LayerMarks;

  /**
   * Whether a mount writes to the layer's directory, anywhere: also one that is attached nowhere
   * and still held. Left out if nothing tells; false if the kernel does not.
   */
  isUpperInUse?(id: string): boolean;

  /**
   * Whether a mark in the layer says that it got a child, and so must not change any more. Left out
   * if the records of parents are asked instead.
   */
  isCommitted?(id: string): boolean;

  /**
   * Takes that mark from the parent of what is staged under an id, if that was its last child. Called with the
   * store's lock held, before {@linkcode dispose}.
   *
   * @param hasChildren tells whether a layer has children; only called if there is a mark
   */
  uncommitParent?(id: string, hasChildren: (parent: string) => boolean): void;

  /** How it is mounted; with no steps, and another path, if it need not be. */
  plan(id: string, options: GetOptions): MountPlan;

  /**
   * Called before a mount that no plan takes down is: writes into the layer what only the mount knows. What
   * fails there is warned of, for the mount goes in any case.
   */
  beforeUnmount?(id: string): void;

  /**
   * Whether the layer's mount lacks something, because a process was killed on the way through a plan of
   * several calls. Called with the layer locked, so that nobody is on the way now.
   */
  isHalfMounted?(id: string): boolean;

  /** The same as triples. */
  mounts(id: string, options: GetOptions): Mount[];

  /**
   * Where a tar is applied without mounting, and in which form; `undefined` if the mounted tree
   * takes it.
   */
  applyTarget(id: string): ApplyTarget | undefined;

  /**
   * Called after a tar was applied and before the layer counts as complete: makes certain that the content is
   * stored, if the layer's file system could lose it without a word later.
   *
   * @param directory the layer's root, opened before the first entry was written
   * @throws {VeneerError} `limit exceeded` if there was no room for it, naming what is full
   */
  ensureStored?(id: string, directory: number): void;

  /**
   * The layer's changes to its direct parent, if reading them is right; else `undefined`.
   *
   * @param scratch for what has to be made to read them
   */
  nativeDiff(id: string, scratch: Scratch): NativeDiff | undefined;

  /** Called by `cleanup`, when no layer is in use. */
  close(): void;
}
