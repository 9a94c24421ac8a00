/**
 * Reads the snapshots of a store in the seed's first form, which has records instead of a database.
 *
 * ```text
 * <home>/names/<hash>      the key or name that the hash is of
 * <home>/parents/<hash>    a link to the parent's path, …/snapshots/<hash>, if it has one
 * <home>/index/<hash>      a link to the snapshot's own path; in the later of two forms
 * ```
 *
 * Snapshots are in the same directories as now; a read-only one in `active/` is a view. The records
 * of a snapshot were not written together and not synced, so any of them may be missing, empty, or
 * left by a removed snapshot. No snapshot is dropped for that: if its name is unknown, it is named
 * by its layer's id, and if its parent is missing, it has no parent.
 *
 * @module
 */
import { basename } from "@std/path";
import { ENOENT } from "../../ffi/errno.ts";
import { subvolumeInfo } from "../../ffi/btrfs_subvolume.ts";
import {
  type ConfinedPath,
  exists,
  list,
  removeTree,
  tryReadlink,
} from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Warn } from "../../lib/base/warn.ts";
import type { Home } from "../../lib/store/home.ts";
import { readWhole } from "../../lib/store/metadata.ts";
import type { ImportedSnapshot } from "../../lib/snapshots/backend.ts";
import { checkKey } from "../../lib/snapshots/keys.ts";
import {
  hashOf,
  isHash,
  LAYER_DIRECTORIES,
  type LayerDirectory,
  layerId,
  type SnapshotLayout,
} from "./snapshots_layout.ts";

/** The directories of records. `names` is removed first: without it there is nothing to import. */
const RECORDS = ["names", "parents", "index"] as const;

/**
 * The snapshots of a store in the seed's first form, parents before children; empty for any other
 * store.
 *
 * @param warn gets a line about each record that does not fit
 * @throws {VeneerError} `corrupt store` if a snapshot is its own ancestor, or if a layer is a plain
 * directory
 */
export function readSeed(
  layout: SnapshotLayout,
  warn: Warn,
): ImportedSnapshot[] {
  if (!exists(layout.home.join("names"))) return [];
  return new Seed(layout, warn).snapshots();
}

/** Removes the records. */
export function removeSeed(home: Home): void {
  for (const name of RECORDS) removeTree(home.join(name));
}

/** A snapshot that was found, without its parent. */
interface Found {
  readonly snapshot: Omit<ImportedSnapshot, "parent">;
  readonly directory: LayerDirectory;
  readonly hash: string;
}

class Seed {
  /** The snapshots by their layers. */
  readonly #found = new Map<string, Found>();

  constructor(readonly layout: SnapshotLayout, readonly warn: Warn) {}

  snapshots(): ImportedSnapshot[] {
    // If an active and a committed snapshot have the same name, the committed one keeps it, because
    // it may have children.
    const taken = new Set<string>();
    for (const directory of LAYER_DIRECTORIES.toReversed()) {
      const hashes = list(this.layout.home.join(directory)).filter(isHash);
      for (const hash of hashes) taken.add(this.#find(directory, hash, taken));
    }
    for (const hash of list(this.layout.home.join("names"))) {
      const isKnown = LAYER_DIRECTORIES.some((name) => this.#found.has(layerId(name, hash)));
      if (!isKnown) this.warn(`names/${hash} is of a snapshot that does not exist: it is ignored`);
    }
    return this.#parentsFirst();
  }

  /** Remembers a snapshot; returns its name. */
  #find(directory: LayerDirectory, hash: string, taken: ReadonlySet<string>): string {
    const layer = layerId(directory, hash);
    const { readOnly, birth } = this.layout.withLayer(layer, subvolumeInfo);
    const recorded = this.#recordedName(hash);
    const name = recorded === undefined || taken.has(recorded) ? layer : recorded;
    if (name === layer) {
      const why = recorded === undefined
        ? `names/${hash} does not hold its name`
        : "a committed one has the same name";
      this.warn(`${directory}/${hash}: ${why}; the snapshot is called ${layer} now`);
    }
    const kind = directory === "snapshots" ? "committed" : readOnly ? "view" : "active";
    this.#found.set(layer, { snapshot: { kind, name, layer, created: birth }, directory, hash });
    return name;
  }

  /** The name of a hash; `undefined` if the record is missing, or if its text has another hash. */
  #recordedName(hash: string): string | undefined {
    const path = this.layout.home.join("names", hash);
    const name = tryRead(path);
    return name !== undefined && hashOf(name) === hash && isKey(name) ? name : undefined;
  }

  #parentsFirst(): ImportedSnapshot[] {
    const ordered = new Map<string, ImportedSnapshot>();
    const descending = new Set<string>();
    const add = (layer: string): ImportedSnapshot => {
      const known = ordered.get(layer);
      if (known !== undefined) return known;
      if (descending.has(layer)) throw this.#ownAncestor(layer);
      descending.add(layer);
      const found = this.#found.get(layer)!;
      const parent = this.#parentOf(found);
      const snapshot = {
        ...found.snapshot,
        parent: parent === undefined ? "" : add(parent).name,
      };
      ordered.set(layer, snapshot);
      return snapshot;
    };
    for (const layer of this.#found.keys()) add(layer);
    return [...ordered.values()];
  }

  /** The layer of a snapshot's parent; `undefined` if it has none. */
  #parentOf({ directory, hash }: Found): string | undefined {
    const link = tryReadlink(this.layout.home.join("parents", hash));
    if (link === -ENOENT) return undefined;
    // Only the last name counts: the store may have been made under another path.
    const parent = typeof link === "number" ? undefined : basename(link);
    // A link from a committed snapshot to itself belongs to the active one with the same name.
    if (directory === "snapshots" && parent === hash) return undefined;
    const layer = layerId("snapshots", parent ?? "");
    if (this.#found.has(layer)) return layer;
    this.warn(
      `parents/${hash} does not lead to a snapshot; ${directory}/${hash} has no parent now`,
    );
    return undefined;
  }

  #ownAncestor(layer: string): VeneerError {
    const { hash } = this.#found.get(layer)!;
    return new VeneerError(
      "corrupt store",
      `${
        this.layout.home.join("parents", hash)
      } makes a snapshot its own ancestor; remove that link`,
    );
  }
}

/** A record's content; `undefined` if it is missing or damaged. */
function tryRead(path: ConfinedPath): string | undefined {
  try {
    return readWhole(path);
  } catch {
    return undefined;
  }
}

function isKey(name: string): boolean {
  try {
    checkKey(name);
    return true;
  } catch {
    return false;
  }
}
