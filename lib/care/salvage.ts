/**
 * Reads the readable rest of a damaged database of snapshots. Every table is read from both ends up
 * to the damage, and each row is checked by itself.
 *
 * @module
 */
import { Database } from "../snapshots/database.ts";
import type { SnapshotKind } from "../snapshots/snapshotter.ts";
import type { ConfinedPath } from "../tree/confined.ts";

/** A snapshot's row. */
export interface SalvagedSnapshot {
  readonly id: number;
  readonly name: string;
  readonly kind: SnapshotKind;
  readonly parent: number | null;
  readonly layer: string;
  /** Microseconds since 1970; `undefined` stands for the present time. */
  readonly created: number | undefined;
  readonly updated: number | undefined;
  readonly bytes: number | null;
  readonly inodes: number | null;
  readonly labels: readonly (readonly [string, string])[];
}

/** An image's row, and its names. */
export interface SalvagedImage {
  readonly id: string;
  readonly config: Uint8Array;
  readonly manifest: Uint8Array | null;
  readonly snapshot: number | null;
  readonly imported: number;
  readonly names: readonly string[];
}

/** The rows that could be read. */
export interface Salvage {
  readonly snapshots: readonly SalvagedSnapshot[];
  readonly images: readonly SalvagedImage[];
  /** Layers that were being made or deleted. */
  readonly intents: readonly string[];
}

/** The most UTF-16 units of a name: containerd's names are shorter. */
const MOST_NAME = 4096;

type Row = Readonly<Record<string, unknown>>;

/** Reads a database that no other process has open. */
export function salvage(file: ConfinedPath): Salvage {
  const nothing = { snapshots: [], images: [], intents: [] };
  try {
    using database = new Database(file, { patience: 0 });
    return {
      snapshots: snapshotsOf(database),
      images: imagesOf(database),
      intents: read(database, "intents", "layer").map(({ layer }) => layer).filter(isName),
    };
  } catch {
    return nothing; // Even its first page is damaged.
  }
}

/** The rows of a table, from its beginning and from its end up to the damage. */
function read(database: Database, table: string, key: string): Row[] {
  const rows = new Map<unknown, Row>();
  for (const order of ["ASC", "DESC"]) {
    try {
      const all = database.prepare<Row>(`SELECT * FROM ${table} ORDER BY ${key} ${order}`);
      for (const row of all.iterate()) {
        const identity = key.split(", ").map((column) => String(row[column])).join("\0");
        if (rows.has(identity)) break;
        rows.set(identity, row);
      }
    } catch {
      // The rows from the other end may be readable.
    }
  }
  return [...rows.values()];
}

function snapshotsOf(database: Database): SalvagedSnapshot[] {
  const labels = new Map<number, [string, string][]>();
  for (const { snapshot, key, value } of read(database, "labels", "snapshot, key")) {
    if (!isId(snapshot) || typeof key !== "string" || typeof value !== "string") continue;
    labels.set(snapshot, [...labels.get(snapshot) ?? [], [key, value]]);
  }
  const names = new Set<string>();
  const snapshots: SalvagedSnapshot[] = [];
  for (const row of read(database, "snapshots", "id")) {
    const { id, name, kind, parent, layer } = row;
    if (!isId(id) || !isName(name) || !isKind(kind) || typeof layer !== "string") continue;
    if (parent !== null && !isId(parent) || names.has(name)) continue;
    names.add(name);
    snapshots.push({
      id,
      name,
      kind,
      parent,
      layer,
      created: isCount(row.created) ? row.created : undefined,
      updated: isCount(row.updated) ? row.updated : undefined,
      bytes: isCount(row.bytes) ? row.bytes : null,
      inodes: isCount(row.inodes) ? row.inodes : null,
      labels: labels.get(id) ?? [],
    });
  }
  return snapshots;
}

function imagesOf(database: Database): SalvagedImage[] {
  const names = new Map<unknown, string[]>();
  for (const { name, image } of read(database, "image_names", "name")) {
    if (isName(name)) names.set(image, [...names.get(image) ?? [], name]);
  }
  const images: SalvagedImage[] = [];
  for (const { id, config, manifest, snapshot, imported } of read(database, "images", "id")) {
    if (!isName(id) || !(config instanceof Uint8Array) || !isCount(imported)) continue;
    if (snapshot !== null && !isId(snapshot)) continue;
    images.push({
      id,
      config,
      manifest: manifest instanceof Uint8Array ? manifest : null,
      snapshot,
      imported,
      names: names.get(id) ?? [],
    });
  }
  return images;
}

const isCount = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

const isId = isCount;

const isName = (value: unknown): value is string =>
  typeof value === "string" && value !== "" && value.length <= MOST_NAME && !value.includes("\0");

const isKind = (value: unknown): value is SnapshotKind =>
  value === "active" || value === "view" || value === "committed";
