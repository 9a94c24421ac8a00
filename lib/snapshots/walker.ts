/**
 * Reads all snapshots of a store in the state of one moment.
 *
 * @module
 */
import type { Database, Statement } from "./database.ts";
import { infoOf, LISTED, type ListedRow } from "./records.ts";
import type { SnapshotInfo } from "./snapshotter.ts";

/**
 * The number of snapshots that a walk reads at a time. Reading one by one takes three times as
 * long.
 */
const PAGE = 200;

/** A snapshot of a list, for a caller that may know its record from an earlier list. */
export interface Listed {
  /** Another snapshot of the same name has another layer. */
  readonly layer: string;
  /**
   * The time of the last change of its record, in microseconds since 1970. As long as layer and
   * time stay the same, so does the record, but for labels that {@linkcode Walker.listed} is about.
   */
  readonly updated: number;
  /** Reads the record; only before the next snapshot is asked for. */
  info(): SnapshotInfo;
}

/** The number of walkers so far: SQLite's version of the data is different for each connection. */
let walkers = 0;

/** A connection that reads all snapshots in the state of one moment. */
export class Walker implements Disposable {
  readonly #begin: Statement;
  readonly #end: Statement;
  readonly #page: Statement<ListedRow>;
  readonly #pageFrom: Statement<ListedRow>;
  readonly #marks: Statement<readonly [layer: string, updated: number]>;
  readonly #version: Statement<readonly [number]>;
  readonly #serial = ++walkers;

  constructor(readonly database: Database) {
    this.#begin = database.prepare("BEGIN");
    this.#end = database.prepare("COMMIT");
    this.#page = database.prepareRows(`${LISTED} WHERE s.name > ? ORDER BY s.name LIMIT ?`);
    this.#pageFrom = database.prepareRows(
      `${LISTED} WHERE s.name >= (SELECT name FROM snapshots WHERE layer = ?)
       ORDER BY s.name LIMIT ?`,
    );
    this.#marks = database.prepareRows(
      `SELECT layer, updated FROM snapshots
       WHERE id NOT IN (SELECT snapshot FROM labels WHERE key = ?) ORDER BY name`,
    );
    this.#version = database.prepareRows("PRAGMA data_version");
  }

  /** Changes with every transaction of another connection. */
  get version(): string {
    return `${this.#serial} ${this.#version.get()![0]}`;
  }

  /** All snapshots, sorted by the bytes of their names. */
  *walk(): Generator<SnapshotInfo> {
    this.#begin.run();
    try {
      let last: string | undefined = "";
      while (last !== undefined) {
        const rows: ListedRow[] = this.#page.all(last, PAGE);
        yield* rows.map(infoOf);
        last = rows.at(PAGE - 1)?.[0];
      }
    } finally {
      this.#end.run();
    }
  }

  /**
   * All snapshots but those with a label, in the same order. To find what has changed since the
   * last list takes a sixth of the time of reading all records.
   */
  *listed(without: string): Generator<Listed> {
    this.#begin.run();
    try {
      const pages = new Pages(this.#pageFrom);
      let at = 0;
      for (const [layer, updated] of this.#marks.all(without)) {
        const place = at++;
        yield { layer, updated, info: () => infoOf(pages.row(layer, place)) };
      }
    } finally {
      this.#end.run();
    }
  }

  [Symbol.dispose](): void {
    this.database[Symbol.dispose]();
  }
}

/**
 * Reads some rows of a list, from its beginning to its end. The pages grow as long as row after row
 * is asked for, so that one changed snapshot costs one row, and a whole list few pages.
 */
class Pages {
  #rows: readonly ListedRow[] = [];
  /** The next row of the page. */
  #next = 0;
  #size = 1;
  /** The place in the list of the row that was asked for last. */
  #last = -1;

  constructor(private readonly from: Statement<ListedRow>) {}

  /** The row of a layer, which comes after those that were asked for before. */
  row(layer: string, place: number): ListedRow {
    const isNext = place === this.#last + 1;
    this.#last = place;
    while (this.#next < this.#rows.length) {
      const row = this.#rows[this.#next++];
      if (row[LAYER] === layer) return row;
    }
    this.#size = isNext ? Math.min(2 * this.#size, PAGE) : 1;
    this.#rows = this.from.all(layer, this.#size);
    this.#next = 1;
    return this.#rows[0];
  }
}

/** The column of a row's layer. */
const LAYER = 3;
