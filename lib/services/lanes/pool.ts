/**
 * Lanes for calls of one kind, and the calls that wait for one.
 *
 * A call may have the pool for itself for a time, its turn: calls that wait for nothing but the
 * disk are done no faster side by side. If it is not done by then, another lane does the next call.
 * Lanes are started when they are needed, up to a number, and closed when they have had no work for
 * long.
 *
 * Calls of one key run one after the other, in the order of their arrival: the store would hold the
 * later ones up anyway, and here they wait without taking a lane. If there can be several lanes,
 * one is kept for calls that wait for no lock, so that these are answered while all others wait for
 * one.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import { messageOf } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import { GrpcError } from "../grpc/status.ts";
import { FairQueue } from "./fair_queue.ts";
import type { Lane } from "./thread.ts";

/** A call, and the receiver of its answer's messages. */
export interface Job<Call> {
  readonly call: Call;
  /** Calls of the same key run one after the other. */
  readonly key?: string;
  /** Whether it waits for no lock of the store's. */
  readonly isFree?: boolean;
  /** The client of the call: see {@linkcode FairQueue}. */
  readonly client?: object;
  readonly emit: (message: Bytes) => void;
  /**
   * Called when it has been done or failed, or will not begin any more. A call that is taken back
   * while it runs goes on: this is its end, not that of {@linkcode Running.done}.
   */
  readonly ended?: () => void;
}

/** A call that was handed over. */
export interface Running {
  /** Resolves when it is done. */
  readonly done: Promise<void>;
  /** Takes it back if it did not begin; one that runs goes on to its end. */
  readonly cancel: () => void;
}

/** A call that waits or runs. */
interface Task<Call> extends Job<Call> {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Since when it could run, by `performance.now()`. */
  readySince: number;
}

/** The settings of a pool. */
export interface PoolContext<Call> {
  /** Starts a lane, which opens the store. */
  readonly start: (onLost: (lane: Lane<Call>) => void) => Promise<Lane<Call>>;
  /** The number of lanes that stay without work. */
  readonly least: number;
  readonly most: number;
  /** How long a call has the pool for itself, in milliseconds. */
  readonly turn: number;
  readonly warn: Warn;
}

/** How long a lane may be without work, in milliseconds. */
const IDLE_TIME = 60_000;

export class LanePool<Call> {
  readonly #context: PoolContext<Call>;
  readonly #lanes = new Set<Lane<Call>>();
  readonly #idle: Lane<Call>[] = [];
  /** Calls that could run now, had they a lane. */
  readonly #ready = { free: new FairQueue<Task<Call>>(), other: new FairQueue<Task<Call>>() };
  /** Lanes that do calls which may wait for a lock. */
  #held = 0;
  /** Of each key that a call runs or is ready on: the calls behind it. */
  readonly #behind = new Map<string, Set<Task<Call>>>();
  /** When the lanes that work began their calls, by `performance.now()`. */
  readonly #begun = new Map<Lane<Call>, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #growing = false;
  #closing = false;

  constructor(context: PoolContext<Call>) {
    this.#context = context;
  }

  /** How many lanes there are. */
  get size(): number {
    return this.#lanes.size;
  }

  /** Whether there are lanes that are closed when they have no work. */
  get hasSpare(): boolean {
    return this.#lanes.size > this.#context.least;
  }

  /** Starts a lane. @throws {VeneerError} as opening the store does */
  async add(): Promise<Lane<Call>> {
    const lane = await this.#context.start((lost) => {
      this.#lanes.delete(lost);
      const at = this.#idle.indexOf(lost);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    this.#lanes.add(lane);
    this.#rest(lane);
    this.#dispatch();
    return lane;
  }

  run(job: Job<Call>): Running {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const task: Task<Call> = { ...job, resolve, reject, readySince: 0 };
    const { key } = job;
    const behind = key === undefined ? undefined : this.#behind.get(key);
    if (behind !== undefined) behind.add(task);
    else {
      if (key !== undefined) this.#behind.set(key, new Set());
      this.#offer(task);
    }
    return { done: promise, cancel: () => this.#cancel(task) };
  }

  #queueOf({ isFree }: Task<Call>): FairQueue<Task<Call>> {
    return isFree ? this.#ready.free : this.#ready.other;
  }

  #offer(task: Task<Call>): void {
    task.readySince = performance.now();
    this.#queueOf(task).add(task);
    this.#dispatch();
  }

  #cancel(task: Task<Call>): void {
    if (this.#queueOf(task).delete(task)) {
      this.#release(task);
      task.ended?.();
    } else if (task.key !== undefined && this.#behind.get(task.key)?.delete(task)) task.ended?.();
    task.reject(new GrpcError("CANCELLED", "the client gave the call up"));
  }

  /** Gives ready calls to idle lanes, when it is their turn; starts a lane if there is none. */
  #dispatch(): void {
    for (let task = this.#next(); task !== undefined; task = this.#next()) {
      const rest = this.#restOfTurn();
      if (rest > 0) return this.#dispatchIn(rest);
      const lane = this.#idle.pop();
      if (lane === undefined) return void this.#grow();
      this.#queueOf(task).delete(task);
      void this.#work(lane, task);
    }
  }

  /** How long the call that began last has the pool for itself yet, in milliseconds. */
  #restOfTurn(): number {
    const last = Math.max(-Infinity, ...this.#begun.values());
    return last + this.#context.turn - performance.now();
  }

  #dispatchIn(time: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#dispatch();
    }, time);
  }

  /** The call that may run and whose turn it is. */
  #next(): Task<Call> | undefined {
    const { most } = this.#context;
    const free = this.#ready.free.first;
    const other = most === 1 || this.#held < most - 1 ? this.#ready.other.first : undefined;
    if (free === undefined || other === undefined) return free ?? other;
    return free.readySince <= other.readySince ? free : other;
  }

  async #work(lane: Lane<Call>, task: Task<Call>): Promise<void> {
    if (!task.isFree) this.#held++;
    this.#begun.set(lane, performance.now());
    try {
      await lane.run(task.call, task.emit);
      task.ended?.();
      task.resolve();
    } catch (error) {
      task.ended?.();
      task.reject(error);
    }
    if (!task.isFree) this.#held--;
    this.#begun.delete(lane);
    if (this.#lanes.has(lane)) this.#rest(lane);
    this.#release(task);
    this.#dispatch();
  }

  /** Lets the next call on the same key go. */
  #release({ key }: Task<Call>): void {
    if (key === undefined) return;
    const behind = this.#behind.get(key)!;
    const next = behind.values().next().value;
    if (next === undefined) {
      this.#behind.delete(key);
      return;
    }
    behind.delete(next);
    this.#offer(next);
  }

  /** Puts a lane among the idle ones. */
  #rest(lane: Lane<Call>): void {
    lane.idleSince = performance.now();
    this.#idle.push(lane);
  }

  /** Closes a lane that has had no work for long. To be called from time to time. */
  trim(now: number): void {
    // The one that was used last is taken first, so that the first of the list has been idle for
    // longest.
    const [longest] = this.#idle;
    if (!this.hasSpare || longest === undefined) return;
    if (now - longest.idleSince < IDLE_TIME) return;
    this.#idle.shift();
    this.#lanes.delete(longest);
    void longest.close();
  }

  async #grow(): Promise<void> {
    if (this.#growing || this.#closing || this.#lanes.size >= this.#context.most) return;
    this.#growing = true;
    try {
      const lane = await this.add();
      this.#growing = false;
      if (this.#closing) void lane.close();
      this.#dispatch();
    } catch (error) {
      this.#growing = false;
      // The lanes that there are do the work; without any, the calls that wait can only be refused.
      this.#context.warn(`a lane could not be started: ${messageOf(error)}`);
      if (this.#lanes.size === 0) this.#refuseAll();
    }
  }

  #refuseAll(): void {
    for (const queue of [this.#ready.free, this.#ready.other]) {
      for (const task of queue) {
        queue.delete(task);
        task.ended?.();
        task.reject(new GrpcError("UNAVAILABLE", "the store cannot be opened; try again"));
        this.#release(task);
      }
    }
  }

  /** Closes the store in every lane. A call that runs is waited for, for a time. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    await Promise.all(Array.from(this.#lanes, (lane) => lane.close()));
  }
}
