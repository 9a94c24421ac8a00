/**
 * Records of snapshots that a service changed, written to disk behind its answers.
 *
 * The changes are in the database's log, in order, so that one sync of the log does for all changes
 * before it. Neither a thread with the store nor the caller's own waits for it.
 *
 * @module
 */
import { join } from "@std/path";
import { LOG } from "./log_reserve.ts";
import { DATABASE } from "./open_store.ts";

/**
 * Resolves when all changes are on disk that were made before. Rejects if the disk fails.
 *
 * @param home of an open store, which is root's alone: no one else puts a file in its place
 */
export async function syncLog(home: string): Promise<void> {
  try {
    using log = await Deno.open(join(home, `${DATABASE}${LOG}`), { read: true });
    await log.syncData();
  } catch (error) {
    // Without a log, SQLite syncs each change itself.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
