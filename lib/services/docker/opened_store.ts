/**
 * The store of a daemon's Init, open in lanes.
 *
 * @module
 */
import { join } from "@std/path";
import { VeneerError } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import type { Bytes } from "../bytes.ts";
import { type Job, Lanes } from "../lanes/lanes.ts";
import type { LanePort } from "../lanes/protocol.ts";
import type { DockerCall } from "./perform.ts";
import type { InitRequest } from "./requests.ts";

/** The settings for opening stores. */
export interface StoreContext {
  /** A driver's name, or `auto`. */
  readonly driver: string;
  /** The options of the command line. The daemon's override them. */
  readonly options: readonly string[];
  readonly startLane: () => LanePort;
  /** Reserves a store for this service. @throws {VeneerError} `in use` */
  readonly hold: (home: string, init: InitRequest) => Disposable;
  readonly warn: Warn;
}

/**
 * The most threads that have the store open: for quick calls, for slow ones, and for tars in each
 * direction. A waiting thread only takes memory.
 */
const LANES = { quick: 4, slow: 3, streams: 16 };

/** An open store. */
export class OpenedStore {
  readonly #lanes: Lanes<DockerCall>;
  readonly #hold: Disposable;

  private constructor(readonly init: InitRequest, lanes: Lanes<DockerCall>, hold: Disposable) {
    this.#lanes = lanes;
    this.#hold = hold;
  }

  /**
   * @throws {VeneerError} as opening the driver's store does, and `in use` if another service uses
   * the store
   */
  static async open(init: InitRequest, context: StoreContext): Promise<OpenedStore> {
    const { home, options, uidmap, gidmap } = init;
    const { driver, startLane, warn } = context;
    const store = {
      root: join(home, "."),
      driver,
      options: [...context.options, ...options],
      uidmap,
      gidmap,
    };
    const lanes = await Lanes.open<DockerCall>({ start: startLane, store, most: LANES, warn });
    try {
      return new OpenedStore(init, lanes, context.hold(lanes.home, init));
    } catch (error) {
      await lanes.close();
      throw error;
    }
  }

  get home(): string {
    return this.#lanes.home;
  }

  get driver(): string {
    return this.#lanes.driver;
  }

  /** Does a call; returns the parts of its answer. */
  async run(call: DockerCall, how: Omit<Job<DockerCall>, "call" | "emit"> = {}): Promise<Bytes[]> {
    const parts: Bytes[] = [];
    await this.#lanes.run({ call, ...how, emit: (part) => void parts.push(part) }).done;
    return parts;
  }

  async close(): Promise<void> {
    await this.#lanes.close();
    this.#hold[Symbol.dispose]();
  }
}

/** The error of a request before Init. */
export const notInitialised = () =>
  new VeneerError("failed precondition", "no store is open: a daemon's first request is Init");
