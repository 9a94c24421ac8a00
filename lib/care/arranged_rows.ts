/**
 * Puts the rows that were read of a damaged database together with the layers on disk.
 *
 * A row is kept if everything below it is. One whose parent's row is lost would be a snapshot with
 * half of its files under a name that others trust: its layer is kept under a new name instead, as
 * each layer is that no row names.
 *
 * @module
 */
import type { Salvage, SalvagedImage, SalvagedSnapshot } from "./salvage.ts";

/** The rows of a new database. */
export interface Arranged {
  /** Parents first. */
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

/** How the snapshot is named of a layer without a row. */
export const recoveredName = (layer: string): string => `recovered/${layer}`;

/** @param onDisk the layers that are there */
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

/** What a committed snapshot's layer is cannot be told from its files, but by btrfs's directories. */
const kindOf = (layer: string) => layer.startsWith("active.") ? "active" : "committed";

/**
 * If one row alone is lost and one layer alone has no row, they belong together: the row of a
 * layer that is not on disk, or the one that others have as their parent.
 *
 * @returns the layer, if its row is a new one
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

/** The rows of which all rows below are there, parents first; without those in a circle. */
function wholeRows(rows: ReadonlyMap<number, SalvagedSnapshot>): Map<number, SalvagedSnapshot> {
  const children = new Map<number | null, SalvagedSnapshot[]>();
  for (const row of rows.values()) {
    const others = children.get(row.parent);
    if (others === undefined) children.set(row.parent, [row]);
    else others.push(row);
  }
  const whole = new Map<number, SalvagedSnapshot>();
  const next = [...children.get(null) ?? []];
  // The list grows while it is walked; a circle is never reached.
  for (const row of next) {
    whole.set(row.id, row);
    next.push(...children.get(row.id) ?? []);
  }
  return whole;
}
