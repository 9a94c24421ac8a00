/**
 * Matches the rows that could be read from a damaged database with the layers on disk.
 *
 * A row is kept if all rows below it are. If its parent's row is lost, it would be a snapshot with
 * only a part of its files, under a name that clients trust. So its layer is kept under a new name
 * instead. The same is done with each layer that no row names.
 *
 * @module
 */
import type { Salvage, SalvagedImage, SalvagedSnapshot } from "./salvage.ts";

/** The rows of a new database. */
export interface Arranged {
  /** Parents come first. */
  readonly snapshots: readonly SalvagedSnapshot[];
  readonly images: readonly SalvagedImage[];
  /** Layers to be deleted. */
  readonly doomed: readonly string[];
  /** The new names of snapshots that could not keep theirs. */
  readonly renamed: Readonly<Record<string, string>>;
  /** New names for layers that no row had. */
  readonly recovered: Readonly<Record<string, string>>;
  /** Names of snapshots without a layer. */
  readonly lost: readonly string[];
}

/** The name of the new snapshot for a layer without a row. */
export const recoveredName = (layer: string): string => `recovered/${layer}`;

/** @param onDisk the layers on disk */
export function arrange(salvage: Salvage, onDisk: ReadonlySet<string>): Arranged {
  const rows = new Map<number, SalvagedSnapshot>();
  const layers = new Set<string>();
  for (const row of salvage.snapshots) {
    if (layers.has(row.layer)) continue;
    layers.add(row.layer);
    rows.set(row.id, row);
  }
  const doomed = salvage.intents.filter((layer) => onDisk.has(layer) && !layers.has(layer));
  const unknown = [...onDisk].filter((layer) => !layers.has(layer) && !doomed.includes(layer));
  const paired = pair(rows, unknown, onDisk);
  const bodiless = [...rows.values()].filter(({ layer }) => !onDisk.has(layer));
  for (const { id } of bodiless) rows.delete(id);
  const kept = wholeRows(rows);
  const names = new Set([...kept.values()].map(({ name }) => name));
  const renamed: Record<string, string> = {}, recovered: Record<string, string> = {};
  if (paired !== undefined) recovered[paired] = recoveredName(paired);
  let id = Math.max(0, ...rows.keys());
  const add = (layer: string): string | undefined => {
    const name = recoveredName(layer);
    if (names.has(name)) return undefined;
    names.add(name);
    kept.set(++id, { ...EMPTY, id, name, layer, kind: kindOf(layer) });
    return name;
  };
  for (const { id, name, layer } of rows.values()) {
    if (kept.has(id)) continue;
    const now = add(layer);
    if (now !== undefined) renamed[name] = now;
  }
  for (const layer of unknown) {
    const now = add(layer);
    if (now !== undefined) recovered[layer] = now;
  }
  const images = salvage.images.filter(({ snapshot }) => snapshot === null || kept.has(snapshot));
  const lost = bodiless.map(({ name }) => name);
  return { snapshots: [...kept.values()], images, doomed, renamed, recovered, lost };
}

const EMPTY: Omit<SalvagedSnapshot, "id" | "name" | "layer" | "kind"> = {
  parent: null,
  created: undefined,
  updated: undefined,
  bytes: null,
  inodes: null,
  labels: [],
};

/** The kind of a recovered snapshot. Only the layer names of btrfs show that one was active. */
const kindOf = (layer: string) => layer.startsWith("active.") ? "active" : "committed";

/**
 * If exactly one layer has no row, and exactly one row is lost, they belong together. That row is
 * one whose layer is not on disk, or one that is missing and that other rows have as their parent.
 *
 * @returns the layer, if a new row was made for it
 */
function pair(
  rows: Map<number, SalvagedSnapshot>,
  unknown: string[],
  onDisk: ReadonlySet<string>,
): string | undefined {
  if (unknown.length !== 1) return undefined;
  const [layer] = unknown;
  const homeless = [...rows.values()].filter((row) => !onDisk.has(row.layer));
  const missing = new Set(
    [...rows.values()].map(({ parent }) => parent).filter((id) => id !== null && !rows.has(id)),
  );
  if (homeless.length + missing.size !== 1) return undefined;
  unknown.pop();
  const [row] = homeless, [id] = missing;
  if (row !== undefined) {
    rows.set(row.id, { ...row, layer });
    return undefined;
  }
  rows.set(id!, { ...EMPTY, id: id!, name: recoveredName(layer), layer, kind: "committed" });
  return layer;
}

/** The rows whose ancestors all have rows, parents first. Rows in a cycle are left out. */
function wholeRows(rows: ReadonlyMap<number, SalvagedSnapshot>): Map<number, SalvagedSnapshot> {
  const children = new Map<number | null, SalvagedSnapshot[]>();
  for (const row of rows.values()) {
    const others = children.get(row.parent);
    if (others === undefined) children.set(row.parent, [row]);
    else others.push(row);
  }
  const whole = new Map<number, SalvagedSnapshot>();
  const next = [...children.get(null) ?? []];
  // The loop also visits what is added meanwhile; it never reaches a cycle.
  for (const row of next) {
    whole.set(row.id, row);
    next.push(...children.get(row.id) ?? []);
  }
  return whole;
}
