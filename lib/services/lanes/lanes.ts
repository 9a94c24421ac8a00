/**
 * The lanes of a service: threads that share out its calls, so that a slow call delays no other.
 *
 * Quick calls are those that take no longer with a large layer than with a small one; the others
 * are slow. Each kind has its own lanes, so slow calls never occupy the lanes of quick ones. The
 * store ensures that a slow call does not hold for long any lock that quick ones need.
 *
 * The first quick lane is started at once, so that a store which cannot be opened is reported
 * before anyone is served.
 *
 * @module
 */
import { type Job as PoolJob, LanePool, type Running } from "./pool.ts";
import type { LanePort, LaneStore } from "./protocol.ts";
import { Lane } from "./thread.ts";
import type { Warn } from "../../base/warn.ts";

export type { Running } from "./pool.ts";

/** A call, and how it may run beside others. */
export interface Job<Call> extends PoolJob<Call> {
  /** Whether it may take long. */
  readonly isSlow?: boolean;
  /**
   * Whether it moves a client's stream into a layer or out of one, at that client's speed. A stream
   * out may be what another stream in waits for, so each direction has lanes of its own.
   */
  readonly stream?: "in" | "out";
}

/** The settings of lanes. */
export interface LanesContext {
  /** Starts a thread. */
  readonly start: () => LanePort;
  readonly store: LaneStore;
  /** How many there may be of each kind; of streams, in each direction. */
  readonly most: { readonly quick: number; readonly slow: number; readonly streams?: number };
  readonly warn: Warn;
  /** Called when a layer in the store waits for deletion. */
  readonly leftover?: () => void;
}

/**
 * How long a quick call has the quick lanes for itself, in milliseconds: longer than most take that
 * wait for the disk. One that is not done by then waits for a lock, which another process or a
 * device may hold for long.
 */
const QUICK_TURN = 100;

/**
 * The same of slow calls, most of which are short: the count of a small layer, the deletion of one.
 */
const SLOW_TURN = 250;

/** Streams wait for their clients, so they begin side by side. */
const STREAM_TURN = 0;

/** How often idle lanes are looked for while there are some to close, in milliseconds. */
const TRIM_INTERVAL = 10_000;

/** {@linkcode open} makes them. */
export class Lanes<Call> {
  readonly #context: LanesContext;
  readonly #quick: LanePool<Call>;
  readonly #slow: LanePool<Call>;
  readonly #streams: { readonly in: LanePool<Call>; readonly out: LanePool<Call> };
  #trimming: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  home = "";
  driver = "";
  /** Of a store of snapshots: see `SnapshotBackend`. */
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
      // Which driver `auto` is was settled by the first.
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

  /** How many lanes there are. */
  get size(): number {
    return this.#pools.reduce((sum, { size }) => sum + size, 0);
  }

  /** Hands a call over. */
  run(job: Job<Call>): Running {
    if (job.stream !== undefined) return this.#streams[job.stream].run({ ...job, isFree: true });
    return (job.isSlow ? this.#slow : this.#quick).run(job);
  }

  /** Closes idle lanes from now on, until none is left to close: without work the process sleeps. */
  #watch(): void {
    if (this.#isClosed) return;
    this.#trimming ??= setTimeout(() => {
      this.#trimming = undefined;
      this.trim(performance.now());
      if (this.#pools.some(({ hasSpare }) => hasSpare)) this.#watch();
    }, TRIM_INTERVAL);
  }

  /** Closes lanes that have had no work for long, but for one. */
  trim(now: number): void {
    for (const pool of this.#pools) pool.trim(now);
  }

  /** Closes the store in every lane. A call that runs is waited for, for a time. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#trimming);
    await Promise.all(this.#pools.map((pool) => pool.close()));
  }
}
