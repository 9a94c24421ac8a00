/**
 * Deletes the layers of removed snapshots one after the other, after the calls that removed them.
 *
 * The layers to delete are recorded in the store. So none is forgotten if the service ends or is
 * killed: the next service continues. If a layer cannot be deleted yet, such as a device that is
 * still mounted, the deletion is repeated from time to time.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import { messageOf } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import type { Leftovers } from "../../snapshots/snapshotter.ts";
import type { Lanes } from "../lanes/lanes.ts";
import { type LaneCall, readLeftovers } from "./perform.ts";

/**
 * The time without removals before the deletion begins, and the longest delay of the deletion, in
 * milliseconds. Removals often come in large numbers, and a deletion would delay them by its use of
 * the disk and the database.
 */
const QUIET = 50, LONGEST_WAIT = 1000;

/**
 * The first and the longest pause before the deletion of layers is tried again, in milliseconds.
 */
const FIRST_PAUSE = 2000, LONGEST_PAUSE = 60_000;

export class Janitor {
  #wanted = false;
  #running: Promise<void> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST_PAUSE;
  #lanes: Lanes<LaneCall> | undefined;

  /** @param warn gets the reasons why layers cannot be deleted */
  constructor(private readonly warn: Warn) {}

  /** Begins to delete layers, in lanes. */
  start(lanes: Lanes<LaneCall>): void {
    this.#lanes = lanes;
    if (this.#wanted) this.wake();
  }

  /** Announces that a layer waits for deletion; may be called before the start. */
  wake(): void {
    this.#wanted = true;
    if (this.#lanes === undefined) return;
    this.#running ??= this.#run(this.#lanes).finally(() => this.#running = undefined);
  }

  async #run(lanes: Lanes<LaneCall>): Promise<void> {
    let left: Leftovers = "none";
    while ((this.#wanted || left === "more") && this.#lanes !== undefined) {
      if (left !== "more") await this.#quiet();
      left = await this.#delete(lanes);
      if (left === "stuck") this.#wakeLater();
      if (left === "none") this.#pause = FIRST_PAUSE;
    }
  }

  /** Waits until there are no more removals. */
  async #quiet(): Promise<void> {
    const end = performance.now() + LONGEST_WAIT;
    do {
      this.#wanted = false;
      await new Promise((resolve) => setTimeout(resolve, QUIET));
    } while (this.#wanted && this.#lanes !== undefined && performance.now() < end);
  }

  async #delete(lanes: Lanes<LaneCall>): Promise<Leftovers> {
    let left: Leftovers = "none";
    const emit = (message: Bytes) => left = readLeftovers(message);
    try {
      await lanes.run({ call: { method: "delete removed" }, isSlow: true, emit }).done;
      return left;
    } catch (error) {
      this.warn(`removed layers are not deleted yet: ${messageOf(error)}`);
      return "stuck";
    }
  }

  #wakeLater(): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.wake(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  /** Stops deleting. Resolves when the current deletion is finished. */
  async stop(): Promise<void> {
    this.#lanes = undefined;
    clearTimeout(this.#retry);
    await this.#running;
  }
}
