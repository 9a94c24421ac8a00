/**
 * The contract of a driver's checks: `drivers/<name>/check.ts`. A check reads the layout and
 * reports what is damaged in it; it knows nothing of locks, of other passes or of output.
 *
 * A pass may see a layer that is just being made or removed. What it reports then is looked at again
 * and dropped, but a check leaves out what it can know to be at work:
 * names in staging.
 *
 * @module
 */
import type { Found, Report } from "./finding.ts";
import type { Step } from "./mending.ts";
import type { ConfinedPath } from "../tree/confined.ts";
import type { Orphan } from "./orphan.ts";
import type { StoreView } from "./store_view.ts";

/** Layers, and the parent of each: `""` for none, `undefined` if nothing readable says. */
export type Parents = ReadonlyMap<string, string | undefined>;

/** Where the files of a layer are. */
export interface Content {
  readonly path: ConfinedPath;
  /** Those of the layers below are there as well. */
  readonly isWhole: boolean;
}

/** A snapshot, as the database has it. */
export interface SnapshotRow {
  readonly name: string;
  readonly kind: "active" | "view" | "committed";
  readonly layer: string;
  /** The parent's layer, if it has one. */
  readonly parent: string | undefined;
  /** In microseconds since 1970. */
  readonly created: number;
}

/** What the database of a store of snapshots says. */
export interface SnapshotRows {
  readonly snapshots: readonly SnapshotRow[];
  /** Layers that are, or may be, on disk, and are being made or deleted. */
  readonly intents: ReadonlySet<string>;
}

/** The checks of one driver. */
export interface DriverChecks {
  /**
   * Reports the damage of a store of layers.
   *
   * @returns its layers, also the damaged ones
   */
  checkLayers(view: StoreView, report: Report): Parents;
  /**
   * The directory of a layer's own files, if it can be read without a device; and whether it shows
   * those of the layers below as well.
   */
  contentOf?(view: StoreView, id: string, of?: "layers" | "snapshots"): Content;
  /** The paths below the home of all that a layer, or a snapshot's, consists of. */
  pathsOf(view: StoreView, id: string, of: "layers" | "snapshots"): Iterable<string>;
  /** What is taken from a layer when the last one on it is gone. */
  stepsWithoutChildren?(view: StoreView, id: string): readonly Step[];
  /**
   * What the layout has beside the layers and nothing needs.
   *
   * @param staged names at work in staging
   * @param found the reports of {@linkcode checkLayers} in the same pass
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
}
