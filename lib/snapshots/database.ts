/**
 * An SQLite database: typed rows, transactions that roll back, and SQLite's errors as this
 * program's.
 *
 * @module
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { EEXIST, ENOENT } from "../../ffi/errno.ts";
import {
  beginWriteBack,
  close,
  fdatasync,
  O_CREAT,
  O_EXCL,
  O_RDWR,
  withFd,
} from "../../ffi/files.ts";
import { BTRFS_MAGIC, fstatfs } from "../../ffi/statfs.ts";
import {
  type ConfinedPath,
  exists,
  lstat,
  openDirectory,
  tryLstat,
  tryOpen,
  unwrapConfined,
} from "../tree/confined.ts";
import { codeOf, messageOf, VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import { hasLoggedSomething, LOG, overwriteInPlace, provideLog, RESERVE } from "./log_reserve.ts";

/** The longest wait of a transaction for that of another process, in milliseconds. */
const PATIENCE = 120_000;

/** Result codes of sqlite3.h. */
const SQLITE_BUSY = 5, SQLITE_CORRUPT = 11, SQLITE_FULL = 13, SQLITE_NOTADB = 26;

/** The extended code of `SQLITE_IOERR` for a log's index whose file cannot grow. */
const SQLITE_IOERR_SHMSIZE = 10 | 19 << 8;

/**
 * Whether a transaction is on disk when it ends (`on disk`), or whether a power failure may undo it
 * and all later ones (`in order`).
 */
export type Durability = "on disk" | "in order";

/**
 * How processes share a database:
 * - `shared`: any number of processes may have it open;
 * - `alone`: one process at a time. Then the index of the log is in memory, and needs no disk
 *   space;
 * - `immutable`: no process can write to it. Changes that are only in the log are not read.
 */
export type Access = "shared" | "alone" | "immutable";

/** The suffix of the file with the index of a shared log. */
const INDEX = "-shm";

/** The query of the database's URI for each access. */
const QUERIES: Readonly<Record<Access, string>> = {
  shared: "",
  alone: "?vfs=unix-excl",
  immutable: "?immutable=1",
};

/**
 * The number of pages in the log after which it is written into the database, if disk space is
 * scarce.
 */
const CHECKPOINT_ALONE = 64;

/** The wait for exclusive use of a database before it is shared, in milliseconds. */
const ALONE_PATIENCE = 500;

/**
 * The free bytes below which a disk counts as full. The index of a shared log is written through
 * mapped memory. If that needs space on a full disk, the process is killed (SIGBUS), so the space
 * is checked first.
 */
const ROOM = 4 << 20;

/** A connection to a database. */
export class Database implements Disposable {
  readonly #connection: DatabaseSync;
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #rollback: Statement;
  readonly #freePages: Statement<readonly [number]>;
  /** The log, for syncing it; opened by the first transaction that finds it. */
  #log: number | undefined;

  /**
   * Opens a database. On a full disk it can be used as well: by one process at a time, unless
   * others already have it open. On a read-only file system it can only be read. The caller
   * excludes other openers meanwhile.
   *
   * @param warn as for `Store.open`
   * @throws {VeneerError} `failed precondition` if it is missing on a read-only file system
   */
  static open(file: ConfinedPath, warn: Warn): Database {
    const { readOnly, free } = disk(file);
    if (readOnly) return openedToRead(file, warn);
    if (free >= ROOM) {
      try {
        return openedFirst(file, "shared");
      } catch (error) {
        if (!(error instanceof VeneerError && error.code === "limit exceeded")) throw error;
      }
    }
    for (const deadline = performance.now() + PATIENCE;;) {
      try {
        return openedFirst(file, "alone", ALONE_PATIENCE);
      } catch (error) {
        if (!(error instanceof VeneerError && error.code === "in use")) throw error;
        // The index of a shared log exists, so it has its space.
        if (exists(file.withSuffix(INDEX))) return openedFirst(file, "shared");
        if (performance.now() > deadline) throw error;
      }
    }
  }

  readonly access: Access;

  /**
   * @param path the file, which is made if it is missing, unless `readOnly`
   * @param log whether to give it a log with reserved space: see `log_reserve.ts`
   */
  constructor(
    readonly file: ConfinedPath,
    { readOnly = false, access = "shared" as Access, log = false, patience = PATIENCE } = {},
  ) {
    const path = file.text;
    this.access = access;
    requireOwnFiles(file);
    if (!readOnly && access !== "immutable") makePrivate(file);
    // An empty database has no log: SQLite would delete it.
    if (log && lstat(file).size > 0) {
      provideLog(file);
      if (access === "shared") provideIndex(file);
    }
    try {
      // Loaded here, so that commands that open no database do not load it.
      const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
      const name = uriOf(path) + QUERIES[access];
      this.#connection = new DatabaseSync(name, { readOnly, timeout: patience });
      // Otherwise SQLite would make files in /var/tmp or /tmp, which all users can write to.
      this.#connection.exec("PRAGMA temp_store = MEMORY");
    } catch (error) {
      throw translated(error, path);
    }
    this.#begin = this.prepare("BEGIN IMMEDIATE");
    this.#commit = this.prepare("COMMIT");
    this.#rollback = this.prepare("ROLLBACK");
    this.#freePages = this.prepareRows("PRAGMA freelist_count");
  }

  get path(): string {
    return this.file.text;
  }

  prepare<Row = unknown>(sql: string): Statement<Row> {
    try {
      return new Statement<Row>(this.#connection.prepare(sql), this.path);
    } catch (error) {
      throw translated(error, this.path);
    }
  }

  /** The same, with rows as arrays of their columns. For many rows that takes half the time. */
  prepareRows<Row extends readonly unknown[]>(sql: string): Statement<Row> {
    const prepared = this.prepare<Row>(sql);
    (prepared.statement as ArrayStatement).setReturnArrays(true);
    return prepared;
  }

  /** The value of a pragma. For an assignment, such as `"journal_mode = WAL"`, the new value. */
  pragma(pragma: string): unknown {
    const row = this.prepare<Record<string, unknown>>(`PRAGMA ${pragma}`).get();
    return row && Object.values(row)[0];
  }

  /** The number of free pages in the database's file. */
  get freePages(): number {
    return this.#freePages.get()![0];
  }

  /**
   * Runs statements as one transaction. No other process writes meanwhile. If `body` throws,
   * nothing is changed.
   *
   * @throws {VeneerError} `in use` if another process's transaction does not end
   */
  transaction<T>(durability: Durability, body: () => T): T {
    if (this.access === "immutable") throw readOnlyError(this.path);
    this.#openLog();
    const result = this.#transactWithRoom(body);
    if (durability === "on disk") this.sync();
    return result;
  }

  #transactWithRoom<T>(body: () => T): T {
    try {
      return this.#transact(body);
    } catch (error) {
      if (codeOf(error) !== "limit exceeded" || !this.#tryCheckpoint()) throw error;
      return this.#transact(body);
    }
  }

  /**
   * Opens the log, so that only {@linkcode sync} syncs it. SQLite would sync it within the
   * transaction, while other writers wait, and together with its times, for which a file system has
   * to write its journal.
   */
  #openLog(): void {
    if (this.#log !== undefined) return;
    const log = this.file.withSuffix(LOG), fd = tryOpen(log, O_RDWR);
    if (fd === -ENOENT) return; // A new database has none; SQLite syncs each transaction.
    this.#log = unwrapConfined(fd, "open", log);
    this.#connection.exec("PRAGMA synchronous = NORMAL");
  }

  /**
   * Returns when all transactions that have ended are on disk, including those of other
   * connections.
   *
   * @throws {VeneerError} `failed`, never `limit exceeded`: the transaction has ended, and must not
   * be tried again
   */
  sync(): void {
    this.#openLog();
    if (this.#log === undefined) return;
    try {
      fdatasync(this.#log);
    } catch (error) {
      throw new VeneerError("failed", `${this.path}${LOG}: ${messageOf(error)}`, { cause: error });
    }
  }

  /**
   * Has the kernel begin to write the log, so that {@linkcode sync} waits for less. It is on disk
   * only after that.
   */
  beginSync(): void {
    if (this.#log === undefined) return;
    try {
      beginWriteBack(this.#log);
    } catch {
      // The sync finds the same fault, and tells.
    }
  }

  #tryCheckpoint(): boolean {
    try {
      this.checkpoint();
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Writes the log into the database, except parts that readers still need. Afterwards the log is
   * overwritten from its beginning, which needs no space.
   *
   * @throws {VeneerError} `limit exceeded` if the database has to grow and cannot
   */
  checkpoint(): void {
    this.pragma("wal_checkpoint(PASSIVE)");
  }

  /** @throws {VeneerError} `limit exceeded` if the disk has fewer free bytes */
  requireRoom(bytes: number): void {
    if (disk(this.file).free < bytes) throw noSpace(this.path);
  }

  #transact<T>(body: () => T): T {
    this.#begin.run();
    try {
      const result = body();
      this.#commit.run();
      return result;
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  /** Rolls back. On a full disk SQLite has already done that. */
  #undo(): void {
    try {
      this.#rollback.run();
    } catch {
      // The caller throws the first error, which is more useful.
    }
  }

  [Symbol.dispose](): void {
    if (this.#log !== undefined) close(this.#log);
    this.#log = undefined;
    this.#connection.close();
  }
}

/** A method of Node's that Deno has as well, but does not declare. */
interface ArrayStatement extends StatementSync {
  setReturnArrays(enabled: boolean): void;
}

/** A prepared statement. The caller gives the type of its rows. */
export class Statement<Row = unknown> {
  constructor(readonly statement: StatementSync, readonly path: string) {}

  /** The first row, if there is one. */
  get(...values: SQLInputValue[]): Row | undefined {
    return this.#try(() => this.statement.get(...values)) as Row | undefined;
  }

  all(...values: SQLInputValue[]): Row[] {
    return this.#try(() => this.statement.all(...values)) as Row[];
  }

  /** The rows. Each is read when the iteration reaches it. */
  *iterate(...values: SQLInputValue[]): Generator<Row> {
    try {
      yield* this.statement.iterate(...values) as Iterable<Row>;
    } catch (error) {
      throw translated(error, this.path);
    }
  }

  /** Returns the number of changed rows. */
  run(...values: SQLInputValue[]): number {
    return Number(this.#try(() => this.statement.run(...values)).changes);
  }

  #try<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw translated(error, this.path);
    }
  }
}

/**
 * Makes a database's file if it is missing. Only root may read it, because labels may contain
 * secrets. An existing file is not opened, because closing it would release this process's locks on
 * it.
 */
function makePrivate(path: ConfinedPath): void {
  const fd = tryOpen(path, O_RDWR | O_CREAT | O_EXCL, 0o600);
  if (fd !== -EEXIST) withFd(unwrapConfined(fd, "open", path), overwriteInPlace);
}

/**
 * Creates the index of a shared log before SQLite does, without copy-on-write. With copy-on-write,
 * each write through mapped memory would need space, and on a full disk the process would be killed
 * (SIGBUS). An existing index belongs to another opener.
 */
function provideIndex(database: ConfinedPath): void {
  const fd = tryOpen(database.withSuffix(INDEX), O_RDWR | O_CREAT | O_EXCL, 0o600);
  if (fd >= 0) withFd(fd, overwriteInPlace);
}

/** Opens a database and reads from it, so that SQLite opens the log now. */
function openedFirst(file: ConfinedPath, access: Access, patience = PATIENCE): Database {
  const database = new Database(file, { access, patience, log: true });
  try {
    database.pragma("user_version");
    if (access === "alone") database.pragma(`wal_autocheckpoint = ${CHECKPOINT_ALONE}`);
    return database;
  } catch (error) {
    database[Symbol.dispose]();
    throw error;
  }
}

/** Opens a database on a read-only file system. */
function openedToRead(file: ConfinedPath, warn: Warn): Database {
  if (!exists(file)) throw readOnlyError(file.text, "is missing and ");
  if (hasLoggedSomething(file)) {
    warn(
      `${file}: the last changes are in ${file.name}${LOG} and are left out, because the file system is read-only`,
    );
  }
  return new Database(file, { readOnly: true, access: "immutable" });
}

function readOnlyError(path: string, what = ""): VeneerError {
  return new VeneerError(
    "failed precondition",
    `${path} ${what}is on a read-only file system; \`mount -o remount,rw\` it first`,
  );
}

/** Whether a file's file system is read-only, and its free bytes. */
function disk(file: ConfinedPath): { readOnly: boolean; free: number } {
  const { type, freeBytes, availableBytes, readOnly } = withFd(
    openDirectory(file.parent),
    fstatfs,
  );
  // On btrfs, only the available bytes show that there is no space for metadata.
  return { readOnly, free: type === BTRFS_MAGIC ? availableBytes : freeBytes };
}

/** A path as a URI for SQLite (sqlite.org/uri.html). */
function uriOf(path: string): string {
  const escaped = path.replaceAll(/[%?#]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
  return `file:${escaped}`;
}

/**
 * The suffixes of the files beside a database: SQLite's log, the log's index, the journal of an old
 * transaction, and the log's second name.
 */
const COMPANIONS = [LOG, INDEX, "-journal", RESERVE];

/**
 * Refuses files that do not belong only to root, because SQLite follows links and opens any file.
 * The files are not opened here: closing one would release this process's locks on it.
 *
 * @throws {VeneerError} `corrupt store` with the file
 */
function requireOwnFiles(path: ConfinedPath): void {
  const [log, reserve] = [LOG, RESERVE].map((suffix) => tryLstat(path.withSuffix(suffix)));
  const isReserved = log !== undefined && reserve !== undefined && log.isSameInode(reserve);
  for (const file of [path, ...COMPANIONS.map((suffix) => path.withSuffix(suffix))]) {
    const stat = tryLstat(file);
    if (stat === undefined) continue;
    const defect = !stat.isFile
      ? "is not a regular file"
      : stat.uid !== 0
      ? `belongs to user ${stat.uid}, not to root`
      : stat.links > (isReserved && stat.isSameInode(log) ? 2 : 1)
      ? "has another name, too"
      : undefined;
    if (defect === undefined) continue;
    throw new VeneerError("corrupt store", `${file} ${defect}`, { remedy: { kind: "restore" } });
  }
}

const noSpace = (path: string, cause?: unknown) =>
  new VeneerError("limit exceeded", `${path}: no space left; free some`, { cause });

/** Converts an error of SQLite's to one of this program's. */
function translated(error: unknown, path: string): VeneerError {
  const extended = typeof error === "object" && error !== null && "errcode" in error
    ? Number(error.errcode)
    : 0;
  const code = extended === SQLITE_IOERR_SHMSIZE ? SQLITE_FULL : extended & 0xff;
  const options = { cause: error };
  switch (code) {
    case SQLITE_BUSY:
      return new VeneerError(
        "in use",
        `${path} has been locked for ${PATIENCE / 1000} s by another process; end it or wait`,
        options,
      );
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new VeneerError("corrupt store", `${path}: ${messageOf(error)}`, {
        ...options,
        remedy: { kind: "restore" },
      });
    case SQLITE_FULL:
      return noSpace(path, error);
    default:
      return new VeneerError("failed", `${path}: ${messageOf(error)}`, options);
  }
}
