/**
 * Has the records of changed snapshots written to disk: for a commit, before its answer; for other
 * calls, soon after their answers. Many calls share one write.
 *
 * If a power failure undoes another change, the engine makes it again or has forgotten it as well.
 * But an engine relies on a commit for ever: if the layer were lost, no pull would restore it.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import { LogFile } from "../../snapshots/log_sync.ts";

/** The longest time before a change is written, in milliseconds. */
const DELAY = 200;

export class LogSyncer {
  readonly #log: LogFile;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /**
   * @param home the store's home
   * @param warn gets the reason why records cannot be written
   */
  constructor(home: string, private readonly warn: Warn) {
    this.#log = new LogFile(home);
  }

  /**
   * To be called when a call that changes records has ended. Its caller does not wait for the disk.
   */
  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.synced().catch((error) =>
        this.warn(`the records of snapshots may not be on disk: ${messageOf(error)}`)
      );
    }, DELAY);
  }

  /**
   * Resolves when all changes before this call are on disk. Rejects if the disk fails. Calls that
   * come while records are being written share the next write.
   */
  synced(): Promise<void> {
    return this.#next ??= this.#afterRunning();
  }

  async #afterRunning(): Promise<void> {
    await this.#running?.catch(() => {});
    this.#next = undefined;
    await (this.#running = this.#log.sync());
  }

  /**
   * Stops; closing the store writes the remaining changes. Resolves when no write is in progress.
   */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await (this.#next ?? this.#running)?.catch(() => {});
    this.#log[Symbol.dispose]();
  }
}
