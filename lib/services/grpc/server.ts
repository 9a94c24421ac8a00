/**
 * Serves gRPC on a socket: accepts clients, watches them and disconnects them.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { Connection } from "../http2/connection.ts";
import type { ServiceLog } from "../log.ts";
import { Budget } from "./budget.ts";
import { type CallRecord, GrpcCall, type GrpcContext, type Services } from "./call.ts";

/**
 * The most connections at a time; further ones wait to be accepted. containerd has one for each
 * address; `ctr` has none.
 */
const MAX_CONNECTIONS = 64;

/** The memory for requests that are being received, of all clients and of one, in bytes. */
const REQUEST_MEMORY = 40 << 20, CLIENT_MEMORY = 20 << 20;

/**
 * The bytes of answers that may wait for all clients together, and those that may wait for each in
 * any case. A list of 100,000 snapshots has 20 MB.
 */
const ANSWERS = 32 << 20, FREE_ANSWERS = 1 << 20;

/** The time between two checks for clients that are too slow, in milliseconds. */
const CHECK_INTERVAL = 1000;

/** The clients of one socket. */
export class GrpcServer {
  readonly #connections = new Set<Connection>();
  readonly #budget = new Budget(REQUEST_MEMORY);
  #onRoom: () => void = () => {};
  #ending = false;
  /** Runs only while a client could be too slow, so that an idle process sleeps. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly services: Services, private readonly log: ServiceLog) {}

  /** Checks for clients that are too slow, until no client can be. */
  #watch(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now();
      for (const connection of this.#connections) connection.checkTime(now);
      if (this.#connections.values().some(({ isTimed }) => isTimed)) this.#watch();
    }, CHECK_INTERVAL);
  }

  /** Accepts clients until the listener is closed. */
  async accept(listener: Deno.Listener): Promise<void> {
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return; // The listener was closed.
        }
        // There may be too many open files: connected clients continue, and will end.
        this.log.warn("a client could not be accepted", { error: messageOf(error) });
        await new Promise((resolve) => setTimeout(resolve, CHECK_INTERVAL));
        continue;
      }
      void this.#serve(conn);
      if (this.#connections.size >= MAX_CONNECTIONS) await this.#room();
    }
  }

  /** Resolves when a connection has ended, so that there are fewer than are allowed. */
  async #room(): Promise<void> {
    this.log.warn("too many clients: more have to wait", { connections: MAX_CONNECTIONS });
    await new Promise<void>((resolve) => this.#onRoom = resolve);
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const context: GrpcContext = {
      services: this.services,
      budget: new Budget(CLIENT_MEMORY, this.#budget),
      mayAnswer: () => this.#mayAnswer(connection),
      isEnding: () => this.#ending,
      onEnd: (record) => this.#logCall(record),
    };
    const connection = new Connection(
      conn,
      (stream) => new GrpcCall(stream, context),
      () => this.#watch(),
    );
    this.#connections.add(connection);
    this.#watch();
    try {
      const fault = await connection.run();
      if (fault !== undefined) this.log.warn("a client was sent away", { error: fault });
    } catch (error) {
      this.log.warn("a connection failed", { error: messageOf(error) });
    } finally {
      this.#connections.delete(connection);
      this.#onRoom();
    }
  }

  /**
   * Whether more bytes may wait for a client. A client that reads its answers is not limited by
   * others that do not.
   */
  #mayAnswer({ pendingBytes }: Connection): boolean {
    if (pendingBytes <= FREE_ANSWERS) return true;
    let all = 0;
    for (const connection of this.#connections) all += connection.pendingBytes;
    return all <= ANSWERS;
  }

  #logCall({ method, subject, status, message, milliseconds }: CallRecord): void {
    if (!this.log.writes("info")) return;
    this.log.info("call", {
      method,
      ...subject,
      status,
      ms: Math.round(milliseconds * 10) / 10,
      ...message === "" ? {} : { error: message },
    });
  }

  /**
   * Finishes the calls in progress, accepts no new ones, and closes all connections.
   *
   * @param patience the longest wait for running calls, in milliseconds
   */
  async drain(patience: number): Promise<void> {
    const end = performance.now() + patience;
    this.#ending = true;
    for (const connection of this.#connections) connection.leave();
    while (performance.now() < end && [...this.#connections].some(({ isIdle }) => !isIdle)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.all(Array.from(this.#connections, (connection) => connection.end()));
    clearTimeout(this.#timer);
  }
}
