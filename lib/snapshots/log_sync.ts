/**
 * Syncs a service's changes of records from a thread that does not have the store open.
 *
 * The changes are in the database's log, in order, so one sync of the log is enough for all changes
 * before it.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";
import { LOG } from "./log_reserve.ts";
import { DATABASE } from "./open_store.ts";

/** The log of an open store. It stays open, because opening it takes as long as syncing it. */
export class LogFile implements Disposable {
  readonly #path: string;
  #file: Deno.FsFile | undefined;
  /** The open log's inode; `undefined` if the log was replaced while it was being opened. */
  #inode: bigint | undefined;

  /**
   * @param home the store's home, which only root can write to, so no other user can replace the
   * log
   */
  constructor(home: string) {
    this.#path = join(home, `${DATABASE}${LOG}`);
  }

  /**
   * Resolves when all earlier changes are on disk. Rejects if the disk fails. Only one call may run
   * at a time.
   */
  async sync(): Promise<void> {
    const log = tryLstat(this.#path);
    if (log === undefined) return; // Without a log, SQLite syncs each change itself.
    // When the last thread closes the store, the log ends; the next thread begins another one.
    // The runtime's own numbers of inodes are inexact from 2^53 on.
    if (this.#file === undefined || this.#inode !== log.inode) {
      this[Symbol.dispose]();
      this.#file = await Deno.open(this.#path, { read: true });
      this.#inode = tryLstat(this.#path)?.inode === log.inode ? log.inode : undefined;
    }
    await this.#file.syncData();
  }

  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}
