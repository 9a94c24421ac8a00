/**
 * The records of a store of snapshots, and the SQL statements on them.
 *
 * @module
 */
import type { Labels, SnapshotInfo, SnapshotKind } from "./snapshotter.ts";
import type { Database } from "./database.ts";

/** A snapshot's record. */
export interface Snapshot {
  readonly id: number;
  readonly name: string;
  readonly kind: SnapshotKind;
  /** The parent's id. */
  readonly parent: number | null;
  readonly layer: string;
  /** Microseconds since 1970. */
  readonly created: number;
  readonly updated: number;
  /** The space that it adds to its parent; `null` until it is counted. */
  readonly bytes: number | null;
  readonly inodes: number | null;
}

/** A layer without a snapshot, and the reason why it is on disk. */
export interface Intent {
  readonly layer: string;
  /** The name of the snapshot for which it is made; `null` if the layer is to be deleted. */
  readonly name: string | null;
  /** The id of the parent on which it is made; `null` for none. */
  readonly parent: number | null;
}

/** A snapshot to record after its layer was created. */
export interface NewSnapshot {
  readonly layer: string;
  readonly name: string;
  readonly kind: SnapshotKind;
  readonly parent: string;
  readonly labels: Labels;
  readonly created?: number;
}

/** The committed snapshot that an active one becomes. */
export interface Commit {
  readonly name: string;
  readonly labels: Labels;
  /** The parent, for an active snapshot without one. */
  readonly parent?: string;
  /** The layer made from the active one, if there is one. Then the active layer is deleted. */
  readonly layer?: string;
}

/** A row of a listing. The labels are a JSON object, or `null` if there are none. */
export type ListedRow = readonly [
  name: string,
  kind: SnapshotKind,
  parent: string,
  layer: string,
  created: number,
  updated: number,
  labels: string | null,
];

/** The first part of a listing's statement. */
export const LISTED = `
  SELECT s.name, s.kind, coalesce(p.name, '') AS parent, s.layer, s.created, s.updated,
    CASE WHEN EXISTS (SELECT 1 FROM labels WHERE snapshot = s.id)
      THEN (SELECT json_group_object(key, value) FROM labels WHERE snapshot = s.id) END AS labels
  FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent`;

export function infoOf(row: ListedRow): SnapshotInfo {
  const [name, kind, parent, layer, created, updated, labels] = row;
  const entries = labels === null ? [] : Object.entries<string>(JSON.parse(labels));
  return { name, kind, parent, layer, created, updated, labels: new Map(entries) };
}

/** A snapshot or one of its ancestors. */
export interface Ancestor {
  readonly id: number;
  readonly parent: number | null;
  readonly layer: string;
}

/** The parent of a new snapshot, or one of the parent's ancestors. */
export interface AncestorOfNew extends Ancestor {
  readonly kind: SnapshotKind;
  /** 1 if the new snapshot's name or layer is another one's; the same in each row. */
  readonly isTaken: 0 | 1;
}

/** The query for a snapshot and its ancestors. */
const lineageFrom = (condition: string, more = "") => `
  WITH RECURSIVE lineage (id, parent, layer, kind) AS (
    SELECT id, parent, layer, kind FROM snapshots WHERE ${condition}
    UNION
    SELECT s.id, s.parent, s.layer, s.kind FROM snapshots s JOIN lineage l ON s.id = l.parent
  ) SELECT id, parent, layer${more} FROM lineage`;

/** The query for a user of a name or layer. */
const OCCUPIED = `
  SELECT 1 FROM snapshots WHERE name = ?1 UNION ALL SELECT 1 FROM intents WHERE name = ?1
  UNION ALL SELECT 1 FROM snapshots WHERE layer = ?2
  UNION ALL SELECT 1 FROM intents WHERE layer = ?2`;

/** The statements of a store. */
export type Statements = ReturnType<typeof prepareAll>;

export function prepareAll(database: Database) {
  type Layer = { layer: string };
  type Name = { name: string };
  return {
    find: database.prepare<Snapshot>("SELECT * FROM snapshots WHERE name = ?"),
    parent: database.prepareRows<readonly [id: number, kind: SnapshotKind]>(
      "SELECT id, kind FROM snapshots WHERE name = ?",
    ),
    taken: database.prepareRows<readonly [by: "snapshot" | "intent"]>(
      `SELECT 'snapshot' FROM snapshots WHERE name = ?
       UNION ALL SELECT 'intent' FROM intents WHERE name = ? LIMIT 1`,
    ),
    occupied: database.prepareRows<readonly [1]>(`${OCCUPIED} LIMIT 1`),
    info: database.prepareRows<ListedRow>(`${LISTED} WHERE s.name = ?`),
    name: database.prepare<Name>("SELECT name FROM snapshots WHERE id = ?"),
    active: database.prepare<Name>(
      "SELECT name FROM snapshots WHERE kind <> 'committed' ORDER BY name",
    ),
    // UNION instead of UNION ALL: if damaged records form a circle, the query ends at the first
    // repeated row.
    lineage: database.prepare<Ancestor>(lineageFrom("id = ?")),
    lineageOf: database.prepare<Ancestor>(lineageFrom("name = ?")),
    lineageOfNew: database.prepare<AncestorOfNew>(
      lineageFrom("name = ?3", `, kind, EXISTS (${OCCUPIED}) AS isTaken`),
    ),
    // A child that is also an ancestor is left out: their records form a circle.
    children: database.prepare<Name>(
      `WITH RECURSIVE below (id, parent) AS (
         SELECT id, parent FROM snapshots WHERE id = ?1
         UNION
         SELECT s.id, s.parent FROM snapshots s JOIN below b ON s.id = b.parent
       )
       SELECT name FROM snapshots WHERE parent = ?1 AND id NOT IN (SELECT id FROM below)
       UNION ALL SELECT coalesce(name, layer) FROM intents WHERE parent = ?1 LIMIT 4`,
    ),
    // Prepared only when it is needed, because a read-only database may have an older form without
    // images.
    images: () =>
      database.prepare<Name>(
        `SELECT coalesce((SELECT min(name) FROM image_names WHERE image = i.id), i.id) AS name
       FROM images i WHERE snapshot = ? LIMIT 4`,
      ),
    isolate: database.prepare("UPDATE snapshots SET parent = id WHERE parent = ?1 AND id <> ?1"),
    hasLayer: database.prepare<Layer>(
      "SELECT layer FROM snapshots WHERE layer = ?1 UNION ALL SELECT layer FROM intents WHERE layer = ?1",
    ),
    layers: database.prepare<Layer>("SELECT layer FROM snapshots UNION SELECT layer FROM intents"),
    isInUse: database.prepare(
      `SELECT 1 FROM snapshots WHERE kind <> 'committed'
       UNION ALL SELECT 1 FROM intents WHERE name IS NOT NULL LIMIT 1`,
    ),
    insert: database.prepare<{ id: number }>(
      `INSERT INTO snapshots (name, kind, parent, layer, created, updated)
       VALUES (?, ?, ?, ?, ?, ?) RETURNING id`,
    ),
    // Inserts nothing if the name or layer is taken, or the parent is not committed.
    insertOn: database.prepare<{ id: number }>(
      `INSERT INTO snapshots (name, kind, parent, layer, created, updated)
       SELECT ?1, ?4, id, ?2, ?5, ?5 FROM snapshots
       WHERE name = ?3 AND kind = 'committed' AND NOT EXISTS (${OCCUPIED}) RETURNING id`,
    ),
    // A column that is set is written to its index again, also if it stays as it is. So this sets no
    // more than every commit changes.
    commit: database.prepare(
      "UPDATE snapshots SET kind = 'committed', name = ?, created = ?, updated = ? WHERE id = ?",
    ),
    rebase: database.prepare("UPDATE snapshots SET parent = ?, layer = ? WHERE id = ?"),
    remove: database.prepare("DELETE FROM snapshots WHERE id = ?"),
    touch: database.prepare("UPDATE snapshots SET updated = ? WHERE id = ?"),
    setTimes: database.prepare("UPDATE snapshots SET created = ?, updated = ? WHERE id = ?"),
    count: database.prepare(
      "UPDATE snapshots SET bytes = ?, inodes = ? WHERE layer = ? AND kind = 'committed'",
    ),
    insertLabel: database.prepare("INSERT INTO labels (snapshot, key, value) VALUES (?, ?, ?)"),
    clearLabels: database.prepare("DELETE FROM labels WHERE snapshot = ?"),
    intent: database.prepare<Intent>("SELECT * FROM intents WHERE layer = ?"),
    intents: database.prepare<Layer>("SELECT layer FROM intents ORDER BY layer"),
    doomed: database.prepare<Layer>(
      "SELECT layer FROM intents WHERE name IS NULL AND parent IS NULL ORDER BY layer",
    ),
    reservedFor: database.prepare<Layer>("SELECT layer FROM intents WHERE name = ?"),
    reservedOn: database.prepare<Layer>("SELECT layer FROM intents WHERE parent = ?"),
    reserve: database.prepare("INSERT INTO intents (layer, name, parent) VALUES (?, ?, ?)"),
    relinquish: database.prepare(
      "UPDATE intents SET name = NULL, parent = NULL WHERE layer = ?",
    ),
    forget: database.prepare("DELETE FROM intents WHERE layer = ?"),
  };
}
