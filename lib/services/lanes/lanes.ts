/**
 * The lanes of a service: threads that share out its calls, so that a slow call delays no other.
 *
 * Which call runs when:
 * - Calls on one key run one after the other, in the order of their arrival. The store would hold the later ones up
 *   anyway; here they wait without taking a lane.
 * - Calls on different keys run side by side; the store's own locks and SQLite keep them apart.
 * - A quick call is one that waits for no layer's lock. One lane is kept free for these, so that they are answered
 *   also while all others are busy.
 *
 * A lane is started when a call has waited for a while, up to a number, and closed when it has had no work for long.
 * The first is started at once, so that a store which cannot be opened is reported before anyone is served.
 *
 * @module
 */
import { messageOf, VeneerError } from "../../base/errors.ts";
import { GrpcError } from "../grpc/status.ts";
import type { FromLane, LanePort, LaneStore, ToLane } from "./protocol.ts";

type Messages = readonly Uint8Array<ArrayBuffer>[];

/** A call, and how it may run beside others. */
export interface Job<Call> {
  readonly call: Call;
  /** Calls of the same key run one after the other. */
  readonly key?: string;
  /** It waits for no layer's lock. */
  readonly isQuick: boolean;
}

/** A call that waits or runs. */
interface Task<Call> extends Job<Call> {
  readonly resolve: (messages: Messages) => void;
  readonly reject: (error: unknown) => void;
  /** Since when it could run, by `performance.now()`. */
  readySince: number;
}

/** What lanes are made with. */
export interface LanesContext {
  /** Starts a thread. */
  readonly start: () => LanePort;
  readonly store: LaneStore;
  /** How many there may be, at least 2: one is for quick calls. */
  readonly count: number;
  readonly warn: (message: string) => void;
}

/** How long a lane may take to close its store, in milliseconds. */
const CLOSING_TIME = 5000;

/**
 * How long calls wait for a lane before another is started, in milliseconds. Longer than calls take that wait for
 * nothing but each other's transactions, which more lanes do not make faster.
 */
const GROWING_TIME = 20;

/** How long a lane may be without work, unless it is the only one, in milliseconds. */
const IDLE_TIME = 60_000;

/** {@linkcode open} makes them. */
export class Lanes<Call> {
  readonly #context: LanesContext;
  readonly #lanes = new Set<Lane<Call>>();
  readonly #idle: Lane<Call>[] = [];
  /** Calls that could run now, had they a lane. */
  readonly #ready = { quick: new Set<Task<Call>>(), other: new Set<Task<Call>>() };
  /** Of each key that a call runs or is ready on: the calls behind it. */
  readonly #behind = new Map<string, Set<Task<Call>>>();
  /** Lanes that are at other than quick calls. */
  #slow = 0;
  #growing = false;
  #closing = false;
  home = "";
  driver = "";

  private constructor(context: LanesContext) {
    this.#context = context;
  }

  /**
   * Starts the first lane.
   *
   * @throws {VeneerError} as opening the store does
   */
  static async open<Call>(context: LanesContext): Promise<Lanes<Call>> {
    const lanes = new Lanes<Call>(context);
    const first = await lanes.#start(context.store);
    lanes.#idle.push(first);
    lanes.home = first.home;
    lanes.driver = first.driver;
    return lanes;
  }

  async #start(store: LaneStore): Promise<Lane<Call>> {
    const lane = new Lane<Call>(this.#context.start(), this.#context.warn, () => {
      this.#lanes.delete(lane);
      const at = this.#idle.indexOf(lane);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    this.#lanes.add(lane);
    try {
      await lane.open(store);
      return lane;
    } catch (error) {
      this.#lanes.delete(lane);
      lane.terminate();
      throw error;
    }
  }

  /** How many lanes there are. */
  get size(): number {
    return this.#lanes.size;
  }

  /** Runs a call. `cancel` takes back one that did not begin; one that runs goes on to its end. */
  run(job: Job<Call>): { readonly answer: Promise<Messages>; readonly cancel: () => void } {
    const { promise, resolve, reject } = Promise.withResolvers<Messages>();
    const task: Task<Call> = { ...job, resolve, reject, readySince: 0 };
    const { key } = job;
    const behind = key === undefined ? undefined : this.#behind.get(key);
    if (behind !== undefined) behind.add(task);
    else {
      if (key !== undefined) this.#behind.set(key, new Set());
      this.#offer(task);
    }
    return { answer: promise, cancel: () => this.#cancel(task) };
  }

  #queueOf({ isQuick }: Task<Call>): Set<Task<Call>> {
    return isQuick ? this.#ready.quick : this.#ready.other;
  }

  #offer(task: Task<Call>): void {
    task.readySince = performance.now();
    this.#queueOf(task).add(task);
    this.#dispatch();
  }

  #cancel(task: Task<Call>): void {
    if (this.#queueOf(task).delete(task)) this.#release(task);
    else if (task.key !== undefined) this.#behind.get(task.key)?.delete(task);
    task.reject(new GrpcError("CANCELLED", "the client gave the call up"));
  }

  /** Gives ready calls to idle lanes; starts a lane if there are more calls than lanes. */
  #dispatch(): void {
    for (let task = this.#next(); task !== undefined; task = this.#next()) {
      const lane = this.#idle.pop();
      if (lane === undefined) return this.#growLater();
      this.#queueOf(task).delete(task);
      void this.#work(lane, task);
    }
  }

  /** The call that may run and has waited for longest. */
  #next(): Task<Call> | undefined {
    const [quick] = this.#ready.quick;
    const [other] = this.#slow < this.#context.count - 1 ? this.#ready.other : [];
    if (quick === undefined || other === undefined) return quick ?? other;
    return quick.readySince <= other.readySince ? quick : other;
  }

  async #work(lane: Lane<Call>, task: Task<Call>): Promise<void> {
    if (!task.isQuick) this.#slow++;
    try {
      task.resolve(await lane.run(task.call));
    } catch (error) {
      task.reject(error);
    }
    if (!task.isQuick) this.#slow--;
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
    // The one that was used last is taken first, so that the first of the list has been idle for longest.
    const [longest] = this.#idle;
    if (this.#lanes.size < 2 || longest === undefined) return;
    if (now - longest.idleSince < IDLE_TIME) return;
    this.#idle.shift();
    this.#lanes.delete(longest);
    void longest.close();
  }

  /** Starts a lane if a call has waited for {@linkcode GROWING_TIME} by then. */
  #growLater(): void {
    if (this.#growing || this.#closing || this.#lanes.size >= this.#context.count) return;
    this.#growing = true;
    const time = this.#lanes.size === 0 ? 0 : GROWING_TIME;
    setTimeout(() => {
      const next = this.#next();
      const isLate = next !== undefined && performance.now() - next.readySince >= time;
      if (isLate && !this.#closing) void this.#grow();
      else {
        this.#growing = false;
        this.#dispatch();
      }
    }, time);
  }

  async #grow(): Promise<void> {
    try {
      this.#rest(await this.#start({ ...this.#context.store, driver: this.driver }));
    } catch (error) {
      // The lanes that there are do the work; without any, the calls that wait can only be refused.
      this.#context.warn(`a lane could not be started: ${messageOf(error)}`);
      if (this.#lanes.size === 0) this.#refuseAll();
    }
    this.#growing = false;
    this.#dispatch();
  }

  #refuseAll(): void {
    for (const queue of [this.#ready.quick, this.#ready.other]) {
      for (const task of [...queue]) {
        queue.delete(task);
        task.reject(new GrpcError("UNAVAILABLE", "the store cannot be opened; try again"));
        this.#release(task);
      }
    }
  }

  /** Closes the store in every lane. A call that runs is waited for, for a time. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(Array.from(this.#lanes, (lane) => lane.close()));
  }
}

/** One lane. */
class Lane<Call> {
  readonly #port: LanePort;
  /** Told what the lane answers to the message it was sent last. */
  #answered: PromiseWithResolvers<FromLane> | undefined;
  home = "";
  driver = "";
  /** By `performance.now()`. */
  idleSince = 0;

  /** @param onLost told that the thread has ended by itself */
  constructor(port: LanePort, warn: (message: string) => void, onLost: () => void) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<FromLane>) => {
      if (data.type === "warning") warn(data.message);
      else this.#answered?.resolve(data);
    };
    port.onerror = (event) => {
      event.preventDefault();
      onLost();
      port.terminate();
      warn(`a lane ended: ${event.message}`);
      this.#answered?.reject(new GrpcError("UNAVAILABLE", "the call was interrupted; try again"));
    };
  }

  async #ask(message: ToLane<Call>): Promise<FromLane> {
    await this.#answered?.promise.catch(() => {});
    this.#answered = Promise.withResolvers();
    this.#port.postMessage(message);
    const answer = await this.#answered.promise;
    if (answer.type !== "error") return answer;
    throw new VeneerError(answer.error.code, answer.error.message);
  }

  /** @throws {VeneerError} */
  async open(store: LaneStore): Promise<void> {
    const opened = await this.#ask({ type: "open", store });
    if (opened.type !== "opened") return;
    this.home = opened.home;
    this.driver = opened.driver;
  }

  /** @throws {VeneerError} as the call does; {@linkcode GrpcError} if the thread is lost */
  async run(call: Call): Promise<Messages> {
    const answer = await this.#ask({ type: "call", call });
    return answer.type === "answer" ? answer.messages : [];
  }

  /** Closes the store, after a call that runs, if neither takes long; ends the thread in any case. */
  async close(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tooLong = new Promise<void>((resolve) => timer = setTimeout(resolve, CLOSING_TIME));
    await Promise.race([this.#ask({ type: "close" }).catch(() => {}), tooLong]);
    clearTimeout(timer);
    this.terminate();
  }

  terminate(): void {
    this.#port.terminate();
  }
}
