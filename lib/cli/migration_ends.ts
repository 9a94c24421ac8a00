/**
 * The lanes of `veneer migrate`.
 *
 * Each source has a Worker. A target is on this thread, which would only wait otherwise, unless
 * trees are compared: then this thread reads from both.
 *
 * @module
 */
import { escapePath } from "../base/printable.ts";
import type { Call, EndStore } from "../migrate/calls.ts";
import type { EndLane } from "../migrate/migrate.ts";
import { Lane } from "../services/lanes/thread.ts";
import type { LanePort } from "../services/lanes/protocol.ts";
import type { Output } from "./output.ts";
import type { CommandContext, MigrationLanes } from "./commands/context.ts";

/** Opens the ends of a migration. */
export class MigrationEnds implements AsyncDisposable {
  readonly #output: Output;
  readonly #drivers: MigrationLanes;
  readonly #isThreaded: boolean;
  readonly #open: EndLane[] = [];
  /** A Worker that loads its modules before it is needed. */
  #ahead: LanePort | undefined;
  #here: Promise<LanePort> | undefined;

  private constructor({ output, options }: CommandContext, drivers: MigrationLanes) {
    this.#output = output;
    this.#drivers = drivers;
    this.#isThreaded = options.flag("verify");
    this.#ahead = drivers.start();
    // The threads load at the same time.
    if (!this.#isThreaded && !options.flag("dry-run")) this.#here = drivers.here();
  }

  /** Starts the first lanes. */
  static async start(context: CommandContext): Promise<MigrationEnds> {
    return new MigrationEnds(context, await context.drivers.migrationLanes());
  }

  /** @throws {VeneerError} as opening the store does */
  async open(store: EndStore): Promise<EndLane> {
    const warn = (message: string) => this.#output.warn(escapePath(message));
    const lane = new Lane<Call>(await this.#port(store), { warn, leftover() {}, lost() {} });
    this.#open.push(lane);
    await lane.open(store);
    this.#output.info(`opened ${lane.home} with ${lane.driver}`);
    return lane;
  }

  async #port({ role }: EndStore): Promise<LanePort> {
    if (role === "target" && !this.#isThreaded) {
      const here = this.#here ?? this.#drivers.here();
      this.#here = undefined;
      return await here;
    }
    const ahead = this.#ahead ?? this.#drivers.start();
    this.#ahead = undefined;
    return ahead;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ahead?.terminate();
    await Promise.all(this.#open.map((lane) => lane.close()));
  }
}
