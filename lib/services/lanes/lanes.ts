/**
 * The lanes of a service: threads that share its calls, so that a slow call does not delay others.
 *
 * A call is quick if it does not take longer with a large layer than with a small one; otherwise it
 * is slow. Each kind has its own lanes, so slow calls never occupy the lanes of quick ones. The
 * store ensures that a slow call does not hold a lock for long that quick ones need.
 *
 * The first quick lane is started at once, so that the service reports a store that cannot be
 * opened before it serves clients.
 *
 * @module
 */
import { type Job as PoolJob, LanePool, type Running } from "./pool.ts";
import type { LanePort, LaneStore } from "./protocol.ts";
import { Lane } from "./thread.ts";
import type { Warn } from "../../base/warn.ts";

export type { Running } from "./pool.ts";

/** A call, and the properties that decide when it may run beside others. */
export interface Job<Call> extends PoolJob<Call> {
  /** Whether it may take long with a large layer. */
  readonly isSlow?: boolean;
  /**
   * Set if the call moves a client's stream into a layer or out of one, at the client's speed. A
   * stream into a layer may wait for another one out of a layer, so each direction has separate
   * lanes.
   */
  readonly stream?: "in" | "out";
}

/** The settings of lanes. */
export interface LanesContext {
  /** Starts a thread. */
  readonly start: () => LanePort;
  readonly store: LaneStore;
  /** The most lanes of each kind; of streams, for each direction. */
  readonly most: { readonly quick: number; readonly slow: number; readonly streams?: number };
  readonly warn: Warn;
  /** Called when a layer in the store waits for deletion. */
  readonly leftover?: () => void;
}

/**
 * The time for which a quick call has the quick lanes to itself, in milliseconds. Most calls that
 * wait for the disk take less. A call that takes longer waits for a lock, which another process or
 * a device may hold for long.
 */
const QUICK_TURN = 100;

/**
 * The same for slow calls. Most of them are short, such as the count or the deletion of a small
 * layer.
 */
const SLOW_TURN = 250;

/** The same for streams. They wait for their clients, so they run side by side at once. */
const STREAM_TURN = 0;

/** The time between two searches for idle lanes while there are lanes to close, in milliseconds. */
const TRIM_INTERVAL = 10_000;

/** The lanes of a service, made by {@linkcode Lanes.open}. */
export class Lanes<Call> {
  readonly #context: LanesContext;
  readonly #quick: LanePool<Call>;
  readonly #slow: LanePool<Call>;
  readonly #streams: { readonly in: LanePool<Call>; readonly out: LanePool<Call> };
  #trimming: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  home = "";
  driver = "";
  /** For a store of snapshots: see `SnapshotBackend`. */
  mountsStay = false;

  private constructor(context: LanesContext) {
    this.#context = context;
    const { most, warn } = context;
    const start = (onLost: (lane: Lane<Call>) => void) => this.#start(onLost);
    this.#quick = new LanePool({ start, warn, least: 1, most: most.quick, turn: QUICK_TURN });
    this.#slow = new LanePool({ start, warn, least: 0, most: most.slow, turn: SLOW_TURN });
    const streams = { start, warn, least: 0, most: most.streams ?? 0, turn: STREAM_TURN };
    this.#streams = { in: new LanePool(streams), out: new LanePool(streams) };
  }

  /**
   * Starts the first lane.
   *
   * @throws {VeneerError} as opening the store does
   */
  static async open<Call>(context: LanesContext): Promise<Lanes<Call>> {
    const lanes = new Lanes<Call>(context);
    const { home, driver, mountsStay } = await lanes.#quick.add();
    lanes.home = home;
    lanes.driver = driver;
    lanes.mountsStay = mountsStay;
    return lanes;
  }

  async #start(onLost: (lane: Lane<Call>) => void): Promise<Lane<Call>> {
    const { start, store, warn, leftover = () => {} } = this.#context;
    const lane: Lane<Call> = new Lane(start(), { warn, leftover, lost: () => onLost(lane) });
    try {
      // The first lane has decided which driver `auto` stands for.
      await lane.open({ ...store, driver: this.driver || store.driver });
      this.#watch();
      return lane;
    } catch (error) {
      lane.terminate();
      throw error;
    }
  }

  get #pools(): LanePool<Call>[] {
    return [this.#quick, this.#slow, this.#streams.in, this.#streams.out];
  }

  /** The number of lanes. */
  get size(): number {
    return this.#pools.reduce((sum, { size }) => sum + size, 0);
  }

  /** Gives a call to a lane. */
  run(job: Job<Call>): Running {
    if (job.stream !== undefined) return this.#streams[job.stream].run({ ...job, isFree: true });
    return (job.isSlow ? this.#slow : this.#quick).run(job);
  }

  /** Closes idle lanes until none is left to close, so that an idle process sleeps. */
  #watch(): void {
    if (this.#isClosed) return;
    this.#trimming ??= setTimeout(() => {
      this.#trimming = undefined;
      this.trim(performance.now());
      if (this.#pools.some(({ hasSpare }) => hasSpare)) this.#watch();
    }, TRIM_INTERVAL);
  }

  /** Closes lanes that have been idle for long; one quick lane stays open. */
  trim(now: number): void {
    for (const pool of this.#pools) pool.trim(now);
  }

  /** Closes the store in every lane. Waits for running calls for a limited time. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#trimming);
    await Promise.all(this.#pools.map((pool) => pool.close()));
  }
}
