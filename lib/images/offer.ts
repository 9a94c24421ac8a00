/**
 * Offers the layers of images to containerd, which asks before it fetches and unpacks a layer. It
 * prepares a snapshot with the layer's chain id in a label. If the answer is `already exists`, it
 * lists the snapshots with that label, and adopts the committed one: from then on the layer is in
 * containerd's database (containerd docs/remote-snapshotter.md).
 *
 * containerd's collector lists all snapshots and removes those that its database does not have. So
 * a layer is hidden from it as long as it is only offered, and a removed one is offered again if it
 * is a part of an image here:
 *
 * ```text
 *             prepare the layer, or a snapshot on it
 *   offered ───────────────────────────────────────────▶ adopted, with the layers below
 *   (hidden) ◀─────────────────────────────────────────   (listed) ──▶ gone
 *             remove, if an image or a hidden layer         remove, if nothing stands on it
 *             stands on it
 * ```
 *
 * An offered layer has a label. A layer without it counts as adopted, such as one of a store of an
 * older version: if containerd does not know it, its collector gives it back. If a power failure
 * undoes an adoption, the layer is adopted again by the next snapshot on it. A listed snapshot never
 * stands on a hidden one, since the collector would never reach it.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { Database } from "../snapshots/database.ts";
import { REFERENCE, shown } from "../snapshots/keys.ts";
import type { Labels, SnapshotInfo } from "../snapshots/snapshotter.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import { DIFF_ID, OFFERED } from "./records.ts";
import { tryStat } from "./try_stat.ts";

/** The labels of layers that containerd neither sees nor changes. */
const PRIVATE: readonly string[] = [DIFF_ID, OFFERED];

/** Whether a snapshot is hidden from containerd. */
export const isOffered = ({ labels }: SnapshotInfo): boolean => labels.has(OFFERED);

/** A snapshot as containerd sees it. */
export function withoutPrivate(info: SnapshotInfo): SnapshotInfo {
  return info.labels.has(DIFF_ID) ? { ...info, labels: publicOf(info.labels) } : info;
}

/** The labels that containerd may give a snapshot. */
export function publicOf(labels: Labels): Labels {
  if (!PRIVATE.some((key) => labels.has(key))) return labels;
  return new Map([...labels].filter(([key]) => !PRIVATE.includes(key)));
}

/** The offers of the stores that are open in this thread, by their databases. */
const known = new WeakMap<Database, Offers>();

/** The offers of a store. */
export function offersOf(snapshots: Snapshots): Offers {
  const { database } = snapshots;
  let offers = known.get(database);
  if (offers === undefined) known.set(database, offers = new Offers(snapshots, database));
  return offers;
}

/** The layers of one store that are offered or adopted. */
export class Offers {
  readonly #statements: ReturnType<typeof prepareAll>;

  constructor(private readonly snapshots: Snapshots, private readonly database: Database) {
    this.#statements = prepareAll(database);
  }

  /**
   * Adopts the layer that a snapshot is to be prepared for, if an image has it.
   *
   * @throws {VeneerError} `already exists` if it was adopted, now or before
   */
  refuseOffered(parent: string, labels: Labels): void {
    const chain = labels.get(REFERENCE);
    if (chain === undefined) return;
    const layer = tryStat(this.snapshots, chain);
    if (layer?.kind !== "committed" || layer.parent !== parent) return;
    if (layer.labels.get(REFERENCE) !== chain || !layer.labels.has(DIFF_ID)) return;
    this.adopt(chain);
    throw new VeneerError("already exists", `snapshot ${shown(chain)} is there with an image`);
  }

  /** Adopts a layer and the layers below it, if it is offered. */
  adopt(name: string): void {
    if (this.#statements.offered.get(name) === undefined) return;
    this.database.transaction("in order", () => this.#statements.adopt.run(name));
  }

  /**
   * Offers an adopted layer again that containerd removes, if it is still needed here.
   *
   * @returns false for another snapshot, and for a layer on which nothing stands: it can be removed
   * @throws {VeneerError} `failed precondition` if a listed snapshot stands on it
   */
  takeBack(name: string): boolean {
    const statements = this.#statements;
    if (statements.layer.get(name) === undefined) return false;
    return this.database.transaction("in order", () => {
      const layer = statements.layer.get(name);
      if (layer === undefined) return false;
      const above = statements.listedOn.get(layer.id);
      if (above !== undefined) {
        throw new VeneerError(
          "failed precondition",
          `snapshot ${shown(name)} has children: ${shown(above.name)}; remove them first`,
        );
      }
      if (statements.needs.get(layer.id) === undefined) return false;
      statements.offer.run(layer.id);
      return true;
    });
  }

  /** Labels that containerd gives a snapshot, with the private ones, which it does not change. */
  withPrivate(name: string, labels: Labels): Labels {
    if (this.#statements.layer.get(name) === undefined) return labels;
    const own = [...this.snapshots.stat(name).labels].filter(([key]) => PRIVATE.includes(key));
    return new Map([...labels, ...own]);
  }
}

function prepareAll(database: Database) {
  return {
    layer: database.prepare<{ id: number }>(
      `SELECT s.id FROM snapshots s JOIN labels l ON l.snapshot = s.id AND l.key = '${DIFF_ID}'
       WHERE s.name = ? AND s.kind = 'committed'`,
    ),
    offered: database.prepare(
      `SELECT 1 FROM snapshots s JOIN labels l ON l.snapshot = s.id AND l.key = '${OFFERED}'
       WHERE s.name = ?`,
    ),
    adopt: database.prepare(
      `WITH RECURSIVE chain (id, parent) AS (
         SELECT id, parent FROM snapshots WHERE name = ?
         UNION
         SELECT s.id, s.parent FROM snapshots s JOIN chain c ON s.id = c.parent
       )
       DELETE FROM labels WHERE key = '${OFFERED}' AND snapshot IN (SELECT id FROM chain)`,
    ),
    // A snapshot that is being made will be listed.
    listedOn: database.prepare<{ name: string }>(
      `SELECT name FROM snapshots s WHERE parent = ?1 AND NOT EXISTS
         (SELECT 1 FROM labels l WHERE l.snapshot = s.id AND l.key = '${OFFERED}')
       UNION ALL SELECT coalesce(name, layer) FROM intents WHERE parent = ?1 LIMIT 1`,
    ),
    needs: database.prepare(
      `SELECT 1 FROM images WHERE snapshot = ?1
       UNION ALL SELECT 1 FROM snapshots WHERE parent = ?1 LIMIT 1`,
    ),
    offer: database.prepare(
      `INSERT OR IGNORE INTO labels (snapshot, key, value) VALUES (?, '${OFFERED}', 'containerd')`,
    ),
  };
}
