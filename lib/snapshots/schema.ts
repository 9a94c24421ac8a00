/**
 * The tables of a store of snapshots, `metadata.db`, and the migration of older ones.
 *
 * ```text
 * snapshots   all snapshots; a committed one's `bytes` and `inodes` once counted
 * labels      of a snapshot, and gone with it
 * intents     layers that are, or may be, on disk and that no snapshot has: being made for `name` on `parent`,
 *             both reserved meanwhile; or, without a name, to be deleted
 * images      images by their ids: the config and manifest, and the uppermost layer's snapshot
 * image_names of an image, and gone with it
 * ```
 *
 * The pragma `user_version` has the number of a database's form.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { Database } from "./database.ts";

/**
 * `PRAGMA application_id` of these databases, "Vnr1", so that `file` and this program can identify
 * them.
 */
export const APPLICATION_ID = 0x566e7231;

/**
 * The statements that make each form from the form before it; the first form is made from an empty
 * database.
 */
const MIGRATIONS: readonly (readonly string[])[] = [[
  `CREATE TABLE snapshots (
     id INTEGER PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     kind TEXT NOT NULL CHECK (kind IN ('active', 'view', 'committed')),
     parent INTEGER REFERENCES snapshots,
     layer TEXT NOT NULL UNIQUE,
     created INTEGER NOT NULL,
     updated INTEGER NOT NULL,
     bytes INTEGER,
     inodes INTEGER
   ) STRICT`,
  `CREATE INDEX children ON snapshots (parent)`,
  `CREATE TABLE labels (
     snapshot INTEGER NOT NULL REFERENCES snapshots ON DELETE CASCADE,
     key TEXT NOT NULL,
     value TEXT NOT NULL,
     PRIMARY KEY (snapshot, key)
   ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE intents (
     layer TEXT PRIMARY KEY,
     name TEXT,
     parent INTEGER REFERENCES snapshots
   ) STRICT, WITHOUT ROWID`,
  `CREATE UNIQUE INDEX reserved ON intents (name) WHERE name IS NOT NULL`,
  `PRAGMA application_id = ${APPLICATION_ID}`,
], [
  `CREATE TABLE images (
     id TEXT PRIMARY KEY,
     config BLOB NOT NULL,
     manifest BLOB,
     snapshot INTEGER REFERENCES snapshots,
     imported INTEGER NOT NULL
   ) STRICT`,
  `CREATE INDEX snapshots_of_images ON images (snapshot)`,
  `CREATE TABLE image_names (
     name TEXT PRIMARY KEY,
     image TEXT NOT NULL REFERENCES images ON DELETE CASCADE
   ) STRICT, WITHOUT ROWID`,
  `CREATE INDEX names_of_images ON image_names (image)`,
]];

/** The form that this program reads and writes. */
export const VERSION = MIGRATIONS.length;

/**
 * The number of a database's form; 0 for an empty database.
 *
 * @throws `incompatible` for a database of another program, or of a newer form
 */
export function versionOf(database: Database): number {
  const { path } = database;
  const version = Number(database.pragma("user_version"));
  const application = Number(database.pragma("application_id"));
  const tables = database.prepare("SELECT name FROM sqlite_schema LIMIT 1").get();
  if (application !== APPLICATION_ID && (application !== 0 || tables !== undefined)) {
    throw new VeneerError(
      "incompatible",
      `${path} is a database of another program's`,
      { remedy: { kind: "other root" } },
    );
  }
  if (version > VERSION) {
    throw new VeneerError(
      "incompatible",
      `${path} has form ${version}, this program knows up to ${VERSION}; use a newer veneer`,
    );
  }
  return version;
}

/**
 * Converts a database to this program's form, in one transaction with the statements of `fill`.
 *
 * The caller excludes other processes meanwhile.
 */
export function migrate(database: Database, version: number, fill: () => void): void {
  // The file keeps this setting. It cannot be made within a transaction.
  database.pragma("journal_mode = WAL");
  database.transaction("on disk", () => {
    for (const statement of MIGRATIONS.slice(version).flat()) database.prepare(statement).run();
    database.prepare(`PRAGMA user_version = ${VERSION}`).run();
    fill();
  });
}

/**
 * The number of free pages that a database gets in its file, so that it need not grow on a full
 * disk, and the number below which it gets new ones.
 */
const SPARE = 32, TOO_FEW = 16;

/** Gives a database free pages, if it has too few. Does nothing on a full disk. */
export function keepSpare(database: Database): void {
  try {
    requireSpare(database);
  } catch (error) {
    if (!(error instanceof VeneerError && error.code === "limit exceeded")) throw error;
  }
}

/**
 * Gives a database free pages, if it has too few, so that a later removal finds space even if the
 * disk is full by then.
 *
 * @throws {VeneerError} `limit exceeded` if the disk is full
 */
export function requireSpare(database: Database): void {
  if (database.freePages >= TOO_FEW) return;
  const size = Number(database.pragma("page_size"));
  // The pages are written to the log and to the file.
  database.requireRoom(2 * SPARE * size);
  const drop = () => database.prepare("DROP TABLE IF EXISTS spare").run();
  database.transaction("in order", () => {
    drop();
    database.prepare("CREATE TABLE spare (room BLOB)").run();
    database.prepare("INSERT INTO spare VALUES (zeroblob(?))").run(SPARE * size);
  });
  // In a separate transaction: pages that are made and dropped in one transaction are never
  // written.
  database.transaction("in order", drop);
  // As long as the pages are only in the log, the file has no space for them.
  database.checkpoint();
}
