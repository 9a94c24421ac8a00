/**
 * Reads the database of a store of snapshots, and reports its faults. Nothing is migrated, and no
 * transaction is begun.
 *
 * @module
 */
import { codeOf, messageOf } from "../base/errors.ts";
import { Database } from "../snapshots/database.ts";
import { DATABASE } from "../snapshots/open_store.ts";
import { versionOf } from "../snapshots/schema.ts";
import { ConfinedRoot, tryLstat } from "../tree/confined.ts";
import { O_DIRECTORY, O_PATH, open, withFd } from "../../ffi/files.ts";
import type { Report } from "./finding.ts";
import { rebuildDatabase } from "./mending.ts";
import type { StoreView } from "./store_view.ts";
import { circular } from "./own_records.ts";
import type { SnapshotRow, SnapshotRows } from "./structure.ts";

/** The longest wait for a transaction of another process, in milliseconds. */
const PATIENCE = 10_000;

/** A snapshot's row with its parent's layer. */
interface Row {
  readonly name: string;
  readonly kind: SnapshotRow["kind"];
  readonly layer: string;
  readonly parent: string | null;
  readonly created: number;
}

/**
 * Reads the rows of a store.
 *
 * @param hasLayers whether there are layers on disk: then a missing database is damage
 * @returns `undefined` if there is no readable database
 */
export function readSnapshotRows(
  view: StoreView,
  hasLayers: () => boolean,
  report: Report,
): SnapshotRows | undefined {
  const file = view.join(DATABASE);
  const tell = (fault: string, what: string) => {
    const mending = fault === "future" ? { remedy: "use a newer veneer" } : rebuildDatabase();
    report({ kind: `database-${fault}`, file: file.text, what, ...mending });
  };
  const stat = tryLstat(file);
  if (stat === undefined) {
    if (hasLayers()) tell("missing", "is missing, and there are layers of snapshots");
    return undefined;
  }
  if (stat.isFile && stat.size === 0) {
    if (hasLayers()) tell("empty", "is empty, and there are layers of snapshots");
    return undefined;
  }
  if (stat.isFile && stat.uid === 0 && (stat.mode & 0o022) !== 0) {
    tell("owner", `has mode ${(stat.mode & 0o7777).toString(8)}, so others can change it`);
  }
  try {
    // The path, not only the descriptor, must be right: SQLite opens the file by its path.
    const real = withFd(
      open(view.path, O_PATH | O_DIRECTORY),
      (fd) => ConfinedRoot.of(view.path, fd),
    );
    using database = new Database(real.join(DATABASE), { readOnly: true, patience: PATIENCE });
    return rowsOf(database, tell);
  } catch (error) {
    const message = messageOf(error).replace(`${file} `, "").replace(`${file}: `, "");
    if (codeOf(error) === "in use") return undefined;
    const fault = codeOf(error) === "incompatible"
      ? /has form/.test(message) ? "future" : "foreign"
      : /belongs to|another name|regular file/.test(message)
      ? "owner"
      : "invalid";
    tell(fault, message.replace(/; .*/, ""));
    return undefined;
  }
}

function rowsOf(
  database: Database,
  tell: (fault: string, what: string) => void,
): SnapshotRows | undefined {
  const version = versionOf(database);
  if (version === 0) return undefined;
  const problem = database.pragma("quick_check");
  if (problem !== "ok") {
    tell("invalid", `is damaged: ${String(problem).split("\n").at(-1)}`);
    return undefined;
  }
  const lost = database.prepare<Record<string, unknown>>("PRAGMA foreign_key_check").get();
  if (lost !== undefined) {
    tell(
      "dangling",
      `has a row of ${lost.table} that refers to a row of ${lost.parent} that is gone`,
    );
  }
  const rows = database.prepare<Row>(
    `SELECT s.name, s.kind, s.layer, s.created, p.layer AS parent
     FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent`,
  ).all();
  const snapshots = rows.map((row) => ({ ...row, parent: row.parent ?? undefined }));
  const parents = new Map(snapshots.map(({ layer, parent }) => [layer, parent]));
  const [own] = circular(parents);
  if (own !== undefined) {
    const { name } = snapshots.find(({ layer }) => layer === own)!;
    tell("cycle", `makes snapshot ${JSON.stringify(name)} one of its own ancestors`);
  }
  const intents = database.prepare<{ layer: string }>("SELECT layer FROM intents").all();
  return { snapshots, intents: new Set(intents.map(({ layer }) => layer)) };
}
