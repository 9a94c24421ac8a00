/**
 * Makes a new database of snapshots: with the rows of the old one that can still be read, and with
 * one for each layer on disk without a row, so that no cleanup removes it.
 *
 * ```text
 * <run>/old.db         a copy of the old one, which is read instead of it
 * <run>/rebuilt.db     the new one, complete
 * ```
 *
 * The new one is put in place last. If a run was killed after it was complete, the next run puts it
 * in place.
 *
 * @module
 */
import {
  fsync,
  O_CREAT,
  O_EXCL,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  tryRead,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { RENAME_NOREPLACE } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { microsecondsNow } from "../../ffi/clock.ts";
import type { Home } from "../store/home.ts";
import { syncDirectory } from "../store/metadata.ts";
import { Database } from "../snapshots/database.ts";
import { DATABASE } from "../snapshots/open_store.ts";
import { migrate } from "../snapshots/schema.ts";
import { type ConfinedPath, exists, open, rename, tryOpen, tryUnlink } from "../tree/confined.ts";
import { arrange, type Arranged } from "./arranged_rows.ts";
import { type Salvage, salvage } from "./salvage.ts";

/** The files beside a database: SQLite's, and the second name of its log. */
const COMPANIONS = ["-wal", "-shm", "-reserve"];

/**
 * The databases of a run: the copy of the old one, and the new one while it is made and when it is
 * complete.
 */
const OLD = "old.db", MAKING = "making.db", REBUILT = "rebuilt.db";

/** The size of the largest database that is read: about ten million snapshots. */
const MOST = 2 ** 32;

/**
 * Makes a database in a run's directory.
 *
 * @param onDisk the layers on disk
 */
export function makeDatabase(home: Home, run: ConfinedPath, onDisk: ReadonlySet<string>): Arranged {
  const arranged = arrange(salvageOf(home, run), onDisk);
  const making = run.join(MAKING);
  {
    using database = new Database(making);
    migrate(database, 0, () => fill(database, arranged));
    database.pragma("wal_checkpoint(TRUNCATE)");
  }
  for (const suffix of COMPANIONS) tryUnlink(making.withSuffix(suffix));
  withFd(open(making, O_RDONLY), (fd) => fsync(fd, making.text));
  rename(making, run.join(REBUILT), RENAME_NOREPLACE);
  syncDirectory(run);
  return arranged;
}

/**
 * Puts a run's database in place, and moves the old one with its companions into the run's
 * directory.
 */
export function placeDatabase(home: Home, run: ConfinedPath): void {
  // SQLite would replay the old database's log over the new one.
  for (const suffix of [...COMPANIONS, ""]) {
    const path = home.join(`${DATABASE}${suffix}`);
    if (exists(path)) rename(path, run.join("home", `${DATABASE}${suffix}`));
  }
  syncDirectory(run.join("home"));
  syncDirectory(home.join());
  rename(run.join(REBUILT), home.join(DATABASE), RENAME_NOREPLACE);
  syncDirectory(home.join());
  syncDirectory(run);
}

/** Whether a run has a complete database that is not in place. */
export const hasDatabase = (run: ConfinedPath): boolean => exists(run.join(REBUILT));

function salvageOf(home: Home, run: ConfinedPath): Salvage {
  const old = run.join(OLD);
  if (!copy(home.join(DATABASE), old)) return { snapshots: [], images: [], intents: [] };
  copy(home.join(`${DATABASE}-wal`), old.withSuffix("-wal"));
  try {
    return salvage(old);
  } finally {
    for (const suffix of ["", ...COMPANIONS]) tryUnlink(old.withSuffix(suffix));
  }
}

/** Copies a regular file of any owner; `false` if it is not a regular file. */
function copy(from: ConfinedPath, to: ConfinedPath): boolean {
  const source = tryOpen(from, O_RDONLY | O_NONBLOCK);
  if (source < 0) return false;
  return withFd(source, () => {
    const { isFile, size } = fstat(source);
    if (!isFile || size === 0 || size > MOST) return false;
    const buffer = new Uint8Array(1 << 20);
    tryUnlink(to);
    const copied = open(to, O_WRONLY | O_CREAT | O_EXCL, 0o600);
    return withFd(copied, () => {
      for (let left = size; left > 0;) {
        const got = tryRead(source, buffer.subarray(0, Math.min(left, buffer.length)));
        // After a read error the rest of the file is lost.
        if (got <= 0) break;
        writeAll(copied, buffer.subarray(0, got));
        left -= got;
      }
      return true;
    });
  });
}

function fill(database: Database, { snapshots, images, doomed }: Arranged): void {
  const now = microsecondsNow();
  const insert = database.prepare(
    `INSERT INTO snapshots (id, name, kind, parent, layer, created, updated, bytes, inodes)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const label = database.prepare("INSERT INTO labels (snapshot, key, value) VALUES (?, ?, ?)");
  for (const row of snapshots) {
    const { id, name, kind, parent, layer, created, updated, bytes, inodes, labels } = row;
    insert.run(id, name, kind, parent, layer, created ?? now, updated ?? now, bytes, inodes);
    for (const [key, value] of labels) label.run(id, key, value);
  }
  const image = database.prepare("INSERT INTO images VALUES (?, ?, ?, ?, ?)");
  const imageName = database.prepare("INSERT INTO image_names VALUES (?, ?)");
  for (const { id, config, manifest, snapshot, imported, names } of images) {
    image.run(id, config, manifest, snapshot, imported);
    for (const name of names) imageName.run(name, id);
  }
  const intent = database.prepare("INSERT INTO intents VALUES (?, NULL, NULL)");
  for (const layer of doomed) intent.run(layer);
}
