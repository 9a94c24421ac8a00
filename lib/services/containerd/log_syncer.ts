/**
 * Has the records of changed snapshots written to disk: soon after the calls that changed them,
 * which are answered before, or before the answer of a commit. Many calls share one write.
 *
 * What a power failure undoes of the rest, the engine makes again or has forgotten itself. A commit
 * it takes for done for ever: the layer would be missing, and no pull would bring it again.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import { LogFile } from "../../snapshots/log_sync.ts";

/** How long a change may wait before it is written, in milliseconds. */
const DELAY = 200;

export class LogSyncer {
  readonly #log: LogFile;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /**
   * @param home of the store
   * @param warn gets the reason why records cannot be written
   */
  constructor(home: string, private readonly warn: Warn) {
    this.#log = new LogFile(home);
  }

  /** A call that changes records has ended; its caller does not wait for the disk. */
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

  /** Leaves the rest to the closing of the store. Resolves when nothing is being written. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await (this.#next ?? this.#running)?.catch(() => {});
    this.#log[Symbol.dispose]();
  }
}
