/**
 * The contract of a driver's checks: `drivers/<name>/check.ts`. A check reads the layout and
 * reports damage in it. Locks, repeated passes and output are not its concern.
 *
 * A pass may see a layer that is being made or removed. A later pass does not find such a report
 * again, and it is dropped. But a check leaves out the names in staging, because it can see that
 * they are in work.
 *
 * @module
 */
import type { Found, Report } from "./finding.ts";
import type { Step } from "./mending.ts";
import type { ConfinedPath } from "../tree/confined.ts";
import type { DumpFit, PoolDump, PoolRestoration, RestoredPool } from "./restored_pool.ts";
import type { Orphan } from "./orphan.ts";
import type { StoreView } from "./store_view.ts";

/** Layers, and the parent of each: `""` for none, `undefined` if it is not known. */
export type Parents = ReadonlyMap<string, string | undefined>;

/** The place of a layer's files. */
export interface Content {
  readonly path: ConfinedPath;
  /** Whether the directory also shows the files of the layers below. */
  readonly isWhole: boolean;
  /** Whether it is a subvolume that is read-only. */
  readonly isSealed?: boolean;
}

/** The trees of layers, until it is disposed of. */
export interface LayerTrees extends Disposable {
  /** Whether a tree also shows the files of the layers below. */
  readonly isWhole: boolean;
  /** The path of a layer's root in messages. */
  path(id: string): ConfinedPath;
  /**
   * Opens a layer's root for reading; `undefined` if it is missing or cannot be opened here.
   *
   * @param scope closes it
   * @throws {VeneerError} or {SyscallError} if its file system is damaged
   */
  open(id: string, scope: DisposableStack): number | undefined;
}

/** A snapshot in the database. */
export interface SnapshotRow {
  readonly name: string;
  readonly kind: "active" | "view" | "committed";
  readonly layer: string;
  /** The parent's layer, if it has one. */
  readonly parent: string | undefined;
  /** The creation time, in microseconds since 1970. */
  readonly created: number;
}

/** The rows of the database of a store of snapshots. */
export interface SnapshotRows {
  readonly snapshots: readonly SnapshotRow[];
  /** Layers that are being made or deleted, and so may be on disk. */
  readonly intents: ReadonlySet<string>;
}

/** The checks of one driver. */
export interface DriverChecks {
  /**
   * Reports the damage of a store of layers.
   *
   * @returns its layers, including the damaged ones
   */
  checkLayers(view: StoreView, report: Report): Parents;
  /**
   * The directory of a layer's own files, if it can be read without a device; and whether it also
   * shows the files of the layers below.
   */
  contentOf?(view: StoreView, id: string, of?: "layers" | "snapshots"): Content;
  /** Opens the trees of layers that are devices, in the place of {@linkcode contentOf}. */
  openTrees?(view: StoreView, of: "layers" | "snapshots"): LayerTrees;
  /** The paths, relative to the home, of all parts of a layer or of a snapshot's layer. */
  pathsOf(view: StoreView, id: string, of: "layers" | "snapshots"): Iterable<string>;
  /** The steps for a layer after its last child was given up. */
  stepsWithoutChildren?(view: StoreView, id: string): readonly Step[];
  /**
   * The parts of the layout that belong to no layer and are not needed.
   *
   * @param staged the names in staging
   * @param found the findings of {@linkcode checkLayers} in the same pass
   */
  orphansOfLayers?(
    view: StoreView,
    layers: Parents,
    staged: ReadonlySet<string>,
    found: readonly Found[],
  ): Iterable<Orphan>;
  /**
   * Reports the layers of snapshots that are missing or damaged.
   *
   * @returns the layers on disk
   */
  checkSnapshots(view: StoreView, rows: SnapshotRows, report: Report): Iterable<string>;
  /** Makes the metadata of the store's pool again, if layers are devices of one. */
  restorePool?(restoration: PoolRestoration): RestoredPool;
  /**
   * Reads what tells the pool of a dump.
   *
   * @param dump open for reading
   * @throws {VeneerError} `invalid argument` if it is not a dump
   */
  readPoolDump?(dump: number): PoolDump;
  /** Compares a dump with the pool of a store. */
  fitOfDump?(view: StoreView, dump: PoolDump): DumpFit;
}
