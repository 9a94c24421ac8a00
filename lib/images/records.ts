/**
 * The records of images in a store's database: their configs, manifests and names.
 *
 * @module
 */
import type { Database } from "../snapshots/database.ts";
import { REFERENCE } from "../snapshots/keys.ts";
import { requireSpare } from "../snapshots/schema.ts";
import type { Labels } from "../snapshots/snapshotter.ts";

/** The label of an image's layers: the digest of the plain tar. */
export const DIFF_ID = "veneer/diff-id";

/** The label of layers that a service offers to containerd, which has not adopted them: `offer.ts`. */
export const OFFERED = "veneer/offered";

/**
 * The labels of a new layer.
 *
 * @param isOffered whether the store is a service's
 */
export function layerLabels(chain: string, diffId: string, isOffered: boolean): Labels {
  const labels = new Map([[REFERENCE, chain], [DIFF_ID, diffId]]);
  return isOffered ? labels.set(OFFERED, "containerd") : labels;
}

/** The record of an image. */
export interface ImageRecord {
  /** The config's digest. */
  readonly id: string;
  /** The bytes of the config. */
  readonly config: Uint8Array<ArrayBuffer>;
  /** The bytes of the manifest; `null` if there was none. */
  readonly manifest: Uint8Array<ArrayBuffer> | null;
  /** The name of the uppermost layer's snapshot; `null` for an image without layers. */
  readonly snapshot: string | null;
  /** Microseconds since 1970. */
  readonly imported: number;
}

/** A name and its image's id. */
export interface ImageName {
  readonly name: string;
  readonly image: string;
}

/** A new image. */
export type NewImage = Omit<ImageRecord, "imported"> & {
  readonly names: readonly string[];
  /** Microseconds since 1970; the present time by default. */
  readonly imported?: number;
};

/** The images of one store. */
export class ImageRecords {
  readonly #database: Database;
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(database: Database) {
    this.#database = database;
    this.#statements = prepareAll(database);
  }

  find(id: string): ImageRecord | undefined {
    return this.#statements.find.get(id);
  }

  /** All images, the newest first. */
  all(): ImageRecord[] {
    return this.#statements.all.all();
  }

  /** All names, sorted. */
  names(): ImageName[] {
    return this.#statements.names.all();
  }

  namesOf(id: string): string[] {
    return this.#statements.namesOf.all(id).map(({ name }) => name);
  }

  /** The newest image whose uppermost layer is a snapshot. */
  on(snapshot: string): ImageRecord | undefined {
    return this.#statements.on.get(snapshot);
  }

  /** The id of the image with a name. */
  named(name: string): string | undefined {
    return this.#statements.named.get(name)?.image;
  }

  /** The ids that begin with a text, at most two. */
  beginningWith(text: string): string[] {
    return this.#statements.beginning.all(text).map(({ id }) => id);
  }

  /**
   * Records images and gives them their names, which other images lose. All or none of this is on
   * disk when it returns.
   */
  add(images: readonly NewImage[]): void {
    requireSpare(this.#database);
    const now = Date.now() * 1000;
    this.#database.transaction("on disk", () => {
      for (const { id, config, manifest, snapshot, names, imported = now } of images) {
        this.#statements.insert.run(id, config, manifest, snapshot, imported);
        for (const name of names) this.#statements.setName.run(name, id);
      }
    });
  }

  /** Gives an image a name, which another image loses if it has it. */
  setName(name: string, id: string): void {
    requireSpare(this.#database);
    this.#database.transaction("on disk", () => this.#statements.setName.run(name, id));
  }

  /** Removes a name. */
  removeName(name: string): void {
    this.#database.transaction("on disk", () => this.#statements.removeName.run(name));
  }

  /** Removes an image and its names. */
  remove(id: string): void {
    this.#database.transaction("on disk", () => this.#statements.remove.run(id));
  }

  /** The names of a snapshot and of those below it, the uppermost first. */
  chain(snapshot: string): string[] {
    return this.#statements.chain.all(snapshot).map(({ name }) => name);
  }

  /** The name or key of a snapshot on another one, if there is one. */
  childOf(snapshot: string): string | undefined {
    return this.#statements.childOf.get(snapshot)?.name;
  }

  /** The diff ids of all layers of images. */
  diffIds(): Set<string> {
    return new Set(this.#statements.diffIds.all().map(({ value }) => value));
  }

  /** The keys of snapshots that begin with `image-`. */
  temporary(): string[] {
    return this.#statements.temporary.all().map(({ name }) => name);
  }

  /**
   * The names of layers of images that have neither an image nor a child.
   *
   * @param isOffered whether only those are meant that are offered to containerd, but not adopted
   */
  unused(isOffered: boolean): string[] {
    const { unused, unusedOffers } = this.#statements;
    return (isOffered ? unusedOffers : unused).all().map(({ name }) => name);
  }
}

function prepareAll(database: Database) {
  type Name = { name: string };
  const record = `SELECT i.id, i.config, i.manifest, s.name AS snapshot, i.imported
    FROM images i LEFT JOIN snapshots s ON s.id = i.snapshot`;
  const unused = (label: string) =>
    database.prepare<Name>(
      `SELECT s.name FROM snapshots s JOIN labels l ON l.snapshot = s.id AND l.key = '${label}'
       WHERE s.kind = 'committed'
         AND NOT EXISTS (SELECT 1 FROM snapshots c WHERE c.parent = s.id)
         AND NOT EXISTS (SELECT 1 FROM images i WHERE i.snapshot = s.id)
         AND NOT EXISTS (SELECT 1 FROM intents n WHERE n.parent = s.id)
       ORDER BY s.name`,
    );
  return {
    find: database.prepare<ImageRecord>(`${record} WHERE i.id = ?`),
    on: database.prepare<ImageRecord>(
      `${record} WHERE s.name = ? ORDER BY i.imported DESC, i.id LIMIT 1`,
    ),
    all: database.prepare<ImageRecord>(`${record} ORDER BY i.imported DESC, i.id`),
    names: database.prepare<ImageName>("SELECT name, image FROM image_names ORDER BY name"),
    namesOf: database.prepare<Name>("SELECT name FROM image_names WHERE image = ? ORDER BY name"),
    named: database.prepare<{ image: string }>("SELECT image FROM image_names WHERE name = ?"),
    beginning: database.prepare<{ id: string }>(
      "SELECT id FROM images WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2",
    ),
    insert: database.prepare(
      `INSERT INTO images (id, config, manifest, snapshot, imported)
       VALUES (?, ?, ?, (SELECT id FROM snapshots WHERE name = ?), ?)
       ON CONFLICT (id) DO UPDATE SET
         manifest = coalesce(excluded.manifest, manifest), imported = excluded.imported`,
    ),
    setName: database.prepare(
      `INSERT INTO image_names (name, image) VALUES (?, ?)
       ON CONFLICT (name) DO UPDATE SET image = excluded.image`,
    ),
    removeName: database.prepare("DELETE FROM image_names WHERE name = ?"),
    remove: database.prepare("DELETE FROM images WHERE id = ?"),
    chain: database.prepare<Name>(
      `WITH RECURSIVE chain (id, name, parent) AS (
         SELECT id, name, parent FROM snapshots WHERE name = ?
         UNION
         SELECT s.id, s.name, s.parent FROM snapshots s JOIN chain c ON s.id = c.parent
       ) SELECT name FROM chain`,
    ),
    childOf: database.prepare<Name>(
      `SELECT c.name FROM snapshots c JOIN snapshots s ON c.parent = s.id
       WHERE s.name = ? ORDER BY c.name LIMIT 1`,
    ),
    diffIds: database.prepare<{ value: string }>(
      `SELECT DISTINCT value FROM labels WHERE key = '${DIFF_ID}'`,
    ),
    // `.` comes after `-`.
    temporary: database.prepare<Name>(
      `SELECT name FROM snapshots
       WHERE name >= 'image-' AND name < 'image.' AND kind <> 'committed' ORDER BY name`,
    ),
    unused: unused(DIFF_ID),
    unusedOffers: unused(OFFERED),
  };
}
