/**
 * Records of snapshots that a service changed, written to disk in no thread that has the store.
 *
 * The changes are in the database's log, in order, so that one sync of the log does for all changes
 * before it.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";
import { LOG } from "./log_reserve.ts";
import { DATABASE } from "./open_store.ts";

/** The log of an open store. It stays open, since opening it takes as long as syncing it. */
export class LogFile implements Disposable {
  readonly #path: string;
  #file: Deno.FsFile | undefined;

  /** @param home of the store, which is root's alone: no one else puts a file in the log's place */
  constructor(home: string) {
    this.#path = join(home, `${DATABASE}${LOG}`);
  }

  /**
   * Resolves when all changes are on disk that were made before. One call at a time. Rejects if the
   * disk fails.
   */
  async sync(): Promise<void> {
    const log = tryLstat(this.#path);
    if (log === undefined) return; // Without a log, SQLite syncs each change itself.
    // The last thread that closes the store ends the log, and the next one begins another.
    if (this.#file === undefined || BigInt(this.#file.statSync().ino ?? 0) !== log.inode) {
      this[Symbol.dispose]();
      this.#file = await Deno.open(this.#path, { read: true });
    }
    await this.#file.syncData();
  }

  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}
