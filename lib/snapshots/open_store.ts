/**
 * Opens the database of a store of snapshots, or makes it.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import type { RunState } from "../store/run_state.ts";
import type { SnapshotBackend } from "./backend.ts";
import type { NewSnapshot } from "./records.ts";
import { Store } from "./store.ts";

/** The database's name in the home. */
export const DATABASE = "metadata.db";

/**
 * Opens the database. Only one process does so at a time, because it may have to be made.
 *
 * @throws {VeneerError} `corrupt store` if there are layers but no database
 */
export function openStore(
  backend: SnapshotBackend,
  state: RunState,
  warn: Warn,
): Store {
  using _lock = state.lockStore();
  let isNew = false;
  const initial = () => {
    isNew = true;
    return initialSnapshots(backend);
  };
  const store = Store.open(backend.home.join(DATABASE), initial, warn);
  if (isNew) backend.imported();
  return store;
}

/** The content of a new database. */
function initialSnapshots(backend: SnapshotBackend): NewSnapshot[] {
  const imported = backend.importable();
  if (imported.length === 0 && backend.list().length > 0) {
    const { path } = backend.home;
    throw new VeneerError(
      "corrupt store",
      `${path} has layers but no ${DATABASE}; restore it from a backup, or move ${path} away`,
    );
  }
  return imported.map((snapshot) => ({ ...snapshot, labels: new Map<string, string>() }));
}
