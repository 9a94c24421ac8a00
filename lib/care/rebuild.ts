/**
 * A new database of snapshots: with the rows that can still be read of the old one, and with one for
 * each layer on disk that has none, so that no cleanup takes it for a leftover.
 *
 * ```text
 * <run>/old.db         a copy of the old one, which is read instead of it
 * <run>/rebuilt.db     the new one, complete
 * ```
 *
 * The new one takes its place last. A killed run that had it ready is finished by the next.
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

/** What SQLite keeps beside a database, and the log's second name. */
const COMPANIONS = ["-wal", "-shm", "-reserve"];

/** Of a run: the copy of the old database, and the new one, which has its second name when it is whole. */
const OLD = "old.db", MAKING = "making.db", REBUILT = "rebuilt.db";

/** How large a database is read at most: of some ten million snapshots. */
const MOST = 2 ** 32;

/**
 * Makes a database in a run's directory.
 *
 * @param onDisk the layers that are there
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

/** Puts a run's database in place, and the old one with its companions in the run. */
export function placeDatabase(home: Home, run: ConfinedPath): void {
  // The log of another database would be replayed over the new one.
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

/** Whether a run has a database that is whole and not in place. */
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

/** Copies a regular file, whoever it belongs to; false if it is not one. */
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
        // The rest of a disk that cannot be read is lost.
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
