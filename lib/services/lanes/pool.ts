/**
 * The lanes for calls of one kind, and the calls that wait for a lane.
 *
 * A call has the pool to itself for a time, its turn, because calls that only wait for the disk are
 * not faster side by side. If it takes longer, another lane does the next call. Lanes are started
 * when they are needed, up to a limit, and closed when they have been idle for long.
 *
 * Calls with the same key run one after the other, in the order of their arrival: the store would
 * delay the later ones anyway, and here they wait without occupying a lane. If there can be several
 * lanes, one is reserved for calls that wait for no lock, so that these are answered while all
 * other lanes wait for locks.
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
  /** Calls with the same key run one after the other. */
  readonly key?: string;
  /** Whether it waits for no lock of the store. */
  readonly isFree?: boolean;
  /** The client of the call: see {@linkcode FairQueue}. */
  readonly client?: object;
  readonly emit: (message: Bytes) => void;
  /**
   * Called when the call is done or has failed, or if it never begins. A call that is cancelled
   * while it runs continues, and this is called at its real end, after {@linkcode Running.done} is
   * rejected.
   */
  readonly ended?: () => void;
}

/** A call that waits or runs, for the caller. */
export interface Running {
  /** Resolves when it is done. */
  readonly done: Promise<void>;
  /** Cancels the call if it has not begun; a running call continues to its end. */
  readonly cancel: () => void;
}

/** A call that waits or runs. */
interface Task<Call> extends Job<Call> {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** The time since which it could run, on the clock of `performance.now()`. */
  readySince: number;
}

/** The settings of a pool. */
export interface PoolContext<Call> {
  /** Starts a lane, which opens the store. */
  readonly start: (onLost: (lane: Lane<Call>) => void) => Promise<Lane<Call>>;
  /** The number of lanes that stay open when they are idle. */
  readonly least: number;
  readonly most: number;
  /** The time for which a call has the pool to itself, in milliseconds. */
  readonly turn: number;
  readonly warn: Warn;
}

/** The longest time for which a lane may be idle, in milliseconds. */
const IDLE_TIME = 60_000;

export class LanePool<Call> {
  readonly #context: PoolContext<Call>;
  readonly #lanes = new Set<Lane<Call>>();
  readonly #idle: Lane<Call>[] = [];
  /** The calls that only wait for a lane. */
  readonly #ready = { free: new FairQueue<Task<Call>>(), other: new FairQueue<Task<Call>>() };
  /** The number of lanes with a call that may wait for a lock. */
  #held = 0;
  /** For each key with a running or ready call: the calls that wait for that call. */
  readonly #behind = new Map<string, Set<Task<Call>>>();
  /** The times at which the busy lanes began their calls, on the clock of `performance.now()`. */
  readonly #begun = new Map<Lane<Call>, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #growing = false;
  #closing = false;

  constructor(context: PoolContext<Call>) {
    this.#context = context;
  }

  /** The number of lanes. */
  get size(): number {
    return this.#lanes.size;
  }

  /** Whether there are lanes that are closed when they are idle. */
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

  /** Gives ready calls to idle lanes when it is their turn. Starts a lane if none is idle. */
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

  /** The rest of the turn of the call that began last, in milliseconds. */
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

  /** The next call that may run. */
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

  /** Makes the next call with the same key ready. */
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

  /** Adds a lane to the idle ones. */
  #rest(lane: Lane<Call>): void {
    lane.idleSince = performance.now();
    this.#idle.push(lane);
  }

  /** Closes a lane that has been idle for long. To be called from time to time. */
  trim(now: number): void {
    // Calls take the last lane of the list, so the first one has been idle for the longest time.
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
      // The existing lanes do the work. If there is none, the waiting calls are refused.
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

  /** Closes the store in every lane. Waits for running calls for a limited time. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    await Promise.all(Array.from(this.#lanes, (lane) => lane.close()));
  }
}
