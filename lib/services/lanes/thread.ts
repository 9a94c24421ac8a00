/**
 * The service's side of a lane: a thread that gets one message after the other.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import type { Bytes } from "../bytes.ts";
import { GrpcError } from "../grpc/status.ts";
import type { FromLane, LaneAnswer, LanePort, LaneStore, ToLane } from "./protocol.ts";

/** The longest time in which a lane must close its store, in milliseconds. */
const CLOSING_TIME = 5000;

/** Gets the events of a lane that are not answers. */
export interface LaneEvents {
  warn(message: string): void;
  /** A layer in the store waits for deletion. */
  leftover(): void;
  /** The thread has failed and ended. */
  lost(): void;
}

/** One lane. */
export class Lane<Call> {
  readonly #port: LanePort;
  /** Resolves with the lane's answer to the last message. */
  #answered: PromiseWithResolvers<LaneAnswer> | undefined;
  #emit: (message: Bytes) => void = () => {};
  home = "";
  driver = "";
  mountsStay = false;
  /** The time since which it is idle, on the clock of `performance.now()`. */
  idleSince = 0;

  constructor(port: LanePort, events: LaneEvents) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<FromLane>) => {
      switch (data.type) {
        case "messages":
          return data.messages.forEach((message) => this.#emit(message));
        case "warning":
          return events.warn(data.message);
        case "leftover":
          return events.leftover();
        case "done":
          data.messages?.forEach((message) => this.#emit(message));
          return this.#answered?.resolve(data);
        default:
          this.#answered?.resolve(data);
      }
    };
    port.onerror = (event) => {
      event.preventDefault();
      events.lost();
      port.terminate();
      events.warn(`a lane ended: ${event.message}`);
      const message = "a fault of this service interrupted the call; check whether it was done";
      this.#answered?.reject(new GrpcError("INTERNAL", message));
    };
  }

  async #ask(message: ToLane<Call>): Promise<LaneAnswer> {
    await this.#answered?.promise.catch(() => {});
    this.#answered = Promise.withResolvers();
    this.#port.postMessage(message);
    const answer = await this.#answered.promise;
    if (answer.type !== "error") return answer;
    const { error } = answer;
    throw new VeneerError(error.code, error.message, { remedy: error.remedy });
  }

  /** @throws {VeneerError} as opening the store does */
  async open(store: LaneStore): Promise<void> {
    const opened = await this.#ask({ type: "open", store });
    if (opened.type !== "opened") return;
    this.home = opened.home;
    this.driver = opened.driver;
    this.mountsStay = opened.mountsStay ?? false;
  }

  /**
   * Does a call.
   *
   * @param emit gets each message of the answer
   * @throws {VeneerError} as the call does; {@linkcode GrpcError} if the thread has failed
   */
  async run(call: Call, emit: (message: Bytes) => void): Promise<void> {
    this.#emit = emit;
    await this.#ask({ type: "call", call });
  }

  /**
   * Waits for a running call and closes the store, both within a limited time. Then ends the thread
   * in any case.
   */
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
