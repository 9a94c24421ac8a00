/**
 * Has the records of changed snapshots written to disk soon after the calls that changed them, which
 * are answered before: many calls share one write.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import { syncLog } from "../../snapshots/log_sync.ts";

/** How long a change may wait before it is written, in milliseconds. */
const DELAY = 200;

export class LogSyncer {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;

  /**
   * @param home of the store
   * @param warn gets the reason why records cannot be written
   */
  constructor(private readonly home: string, private readonly warn: Warn) {}

  /** A call that changes records has ended. */
  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#sync();
    }, DELAY);
  }

  async #sync(): Promise<void> {
    try {
      await syncLog(this.home);
    } catch (error) {
      this.warn(`the records of snapshots may not be on disk: ${messageOf(error)}`);
    }
  }

  /** Leaves the rest to the closing of the store. Resolves when nothing is being written. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running;
  }
}
